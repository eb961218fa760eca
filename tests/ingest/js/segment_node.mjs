// @segment/analytics-node: package.json of the installed SDKs, how the README makes the client, visitor, user.
import { createRequire } from "node:module";

const [, , installed, made, anonymousId, userId] = process.argv;
const { Analytics } = createRequire(installed)("@segment/analytics-node");
const analytics = new Function("Analytics", `return ${made}`)(Analytics);
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
analytics.track({ anonymousId, event: "页面点击", properties: { 按钮: "立即申购" } });
analytics.identify({ userId, anonymousId, traits: { 姓名: "张三" } });
for (let i = 0; i < 50; i++) analytics.track({ userId, event: "批量事件", properties: { i } });
await analytics.closeAndFlush({ timeout: 60000 });
