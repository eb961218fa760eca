// What sa-sdk-miniprogram asks WeChat for, in Node: requests are real HTTP, and the phone, its storage and its pages are stand-ins.
const storage = new Map();
const told = { appShow: [], appHide: [] };

// As WeChat has it: any answer is a success, whatever its status; only a connection that breaks is a failure.
async function request({ url, method = "GET", data, header = {}, timeout = 60000, success, fail, complete }) {
  let result;
  try {
    const answer = await fetch(url, { method, body: data, headers: header, signal: AbortSignal.timeout(timeout) });
    result = { statusCode: answer.status, data: await answer.text(), errMsg: "request:ok" };
    success?.(result);
  } catch (error) {
    result = { errMsg: `request:fail ${error.cause?.code ?? error.message}` };
    fail?.(result);
  }
  complete?.(result);
}

const answer = (value) => ({ success, complete }) => {
  success?.(value);
  complete?.(value);
};

globalThis.wx = {
  request,
  getSystemInfo: answer({
    brand: "huawei",
    model: "Mate 60",
    platform: "android",
    system: "Android 12",
    screenWidth: 400,
    screenHeight: 860,
    SDKVersion: "3.3.4",
    version: "8.0.49",
  }),
  getNetworkType: answer({ networkType: "wifi" }),
  getAccountInfoSync: () => ({ miniProgram: { appId: "wx0123456789abcdef", envVersion: "release", version: "9.1.0" } }),
  getLaunchOptionsSync: () => ({ path: "pages/home/index", query: {}, scene: 1001 }),
  getStorageSync: (key) => storage.get(key) ?? "",
  setStorageSync: (key, value) => storage.set(key, value),
  getStorage: ({ key, complete }) => complete?.(storage.has(key) ? { data: storage.get(key) } : {}),
  onAppShow: (tell) => told.appShow.push(tell),
  onAppHide: (tell) => told.appHide.push(tell),
  onNetworkStatusChange: () => {},
};
globalThis.App = globalThis.Page = globalThis.Component = () => {};
globalThis.getApp = () => ({});
globalThis.getCurrentPages = () => [{ route: "pages/home/index" }];

/** The user brings the mini-program to the front, or sends it to the back. */
export const happens = (name) => told[name].forEach((tell) => tell(globalThis.wx.getLaunchOptionsSync()));
