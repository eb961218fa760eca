// sa-sdk-miniprogram: package.json of the installed SDKs, how the README makes the client, a plugin of its or "", user.
import { createRequire } from "node:module";
import { happens } from "./wechat.mjs";

const [, , installed, made, plugin, user] = process.argv;
const require = createRequire(installed);
const sensors = require("sa-sdk-miniprogram");
if (plugin) sensors.use(require(`sa-sdk-miniprogram/dist/wechat/plugin/${plugin}/index.cmd.js`));
new Function("sensors", `return ${made}`)(sensors);
happens("appShow");
sensors.track("PageClick", { btn: "立即申购" });
sensors.login(user);
sensors.setProfile({ name: "张三" });
for (let i = 0; i < 50; i++) sensors.track("批量事件", { i });
happens("appHide");
