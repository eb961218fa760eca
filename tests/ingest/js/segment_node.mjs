// @segment/analytics-node: package.json of the installed SDKs, address, write key, visitor, user.
import { createRequire } from "node:module";

const [, , installed, host, writeKey, anonymousId, userId] = process.argv;
const { Analytics } = createRequire(installed)("@segment/analytics-node");
const analytics = new Analytics({ writeKey, host, maxEventsInBatch: 100, flushInterval: 100 });
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
analytics.track({ anonymousId, event: "页面点击", properties: { 按钮: "立即申购" } });
analytics.identify({ userId, anonymousId, traits: { 姓名: "张三" } });
for (let i = 0; i < 50; i++) analytics.track({ userId, event: "批量事件", properties: { i } });
await analytics.closeAndFlush({ timeout: 60000 });
