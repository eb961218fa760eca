import com.sensorsdata.analytics.javasdk.SensorsAnalytics;
import com.sensorsdata.analytics.javasdk.bean.SensorsAnalyticsIdentity;
import com.sensorsdata.analytics.javasdk.consumer.BatchConsumer;
import java.util.Map;

/** Sensors Analytics' Java SDK: visitor, user. How the README makes the client stands in for MADE. */
class SensorsSdk {
    public static void main(String[] said) throws Exception {
        String visitor = said[0], user = said[1];
        SensorsAnalytics sensors = MADE;
        sensors.track(visitor, false, "PageClick", Map.of("btn", "立即申购"));
        sensors.trackSignUp(user, visitor, Map.of("channel", "手机银行"));
        for (int i = 0; i < 50; i++) {
            sensors.track(user, true, "BatchEvent", Map.of("i", i));
        }
        sensors.profileSet(user, true, Map.of("name", "张三"));
        sensors.profileIncrement(user, true, "level", 3);
        sensors.bind(
            SensorsAnalyticsIdentity.builder().addIdentityProperty("$identity_login_id", user)
                .addIdentityProperty("$identity_mobile", "13800138000").build());
        sensors.flush();
        sensors.flush();
        sensors.shutdown();
    }
}
