// posthog-node: package.json of the installed SDKs, how the README makes the client, visitor, user.
import { createRequire } from "node:module";

const [, , installed, made, visitor, user] = process.argv;
const { PostHog } = createRequire(installed)("posthog-node");
const client = new Function("PostHog", `return ${made}`)(PostHog);
client.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
const properties = { 按钮: "立即申购", $process_person_profile: false };
client.capture({ distinctId: visitor, event: "页面点击", properties });
client.identify({ distinctId: user, properties: { $set: { 姓名: "张三" }, $anon_distinct_id: visitor } });
client.alias({ distinctId: user, alias: visitor });
for (let i = 0; i < 50; i++) client.capture({ distinctId: user, event: "批量事件", properties: { i } });
await client.shutdown(60000);
