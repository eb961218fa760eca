// sa-sdk-node: package.json of the installed SDKs, how the README makes the client, visitor, user.
import { createRequire } from "node:module";

const [, , installed, made, visitor, user] = process.argv;
const SensorsAnalytics = createRequire(installed)("sa-sdk-node");
const sensors = new SensorsAnalytics();
const submitter = new Function("sensors", `return ${made}`)(sensors);
submitter.catch((error) => console.log(`told: ${error.message}`));
sensors.track(visitor, "PageClick", { btn: "立即申购" });
sensors.trackSignup(user, visitor, { channel: "手机银行" });
for (let i = 0; i < 50; i++) sensors.track(user, "BatchEvent", { i, $is_login_id: true });
sensors.profileSet(user, { name: "张三", $is_login_id: true });
sensors.onCompleted();
