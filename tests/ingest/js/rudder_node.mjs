// @rudderstack/rudder-sdk-node: package.json of the installed SDKs, how the README makes the client, visitor, user.
import { createRequire } from "node:module";

const [, , installed, made, anonymousId, userId] = process.argv;
const RudderAnalytics = createRequire(installed)("@rudderstack/rudder-sdk-node");
const analytics = new Function("RudderAnalytics", `return ${made}`)(RudderAnalytics);
const sent = [];
const say = (call, message) => sent.push(new Promise((go, fail) => analytics[call](message, (error) => (error ? fail(error) : go()))));
say("track", { anonymousId, event: "页面点击", properties: { 按钮: "立即申购" } });
say("identify", { userId, anonymousId, traits: { 姓名: "张三" } });
for (let i = 0; i < 50; i++) say("track", { userId, event: "批量事件", properties: { i } });
await analytics.flush();
await Promise.all(sent);
