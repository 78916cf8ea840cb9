package bench;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/** The job in Kafka Streams' DSL: re-keyed by campaign, counted in tumbling windows, in RocksDB with a changelog. */
public final class CampaignPanes {
    private static final String[] TOPICS = {
        "email.deliveries", "email.opens", "email.clicks", "email.optouts", "chats", "carts", "tickets"
    };
    private static final Duration PANE = Duration.ofSeconds(10);
    private static final Duration NEVER_LATE = Duration.ofHours(2);
    // An hour ahead of the clock, perhaps: a broker refuses such a record in the repartition topic.
    private static final String SENTINEL = "sentinel";
    private static final byte[] NOTHING = {};

    private CampaignPanes() {}

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> bench = System.getenv();
        KafkaStreams streams = new KafkaStreams(topology(bench), properties(bench, arguments[0]));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.NOT_RUNNING || now == KafkaStreams.State.ERROR) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
        ended.await();
    }

    private static Topology topology(Map<String, String> bench) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                        Stream.of(TOPICS).map(name -> bench.get("BENCH_PREFIX") + name).toList(),
                        Consumed.with(Serdes.ByteArray(), Serdes.serdeFrom((topic, event) -> NOTHING, new Event.FromJson()))
                                .withTimestampExtractor(new Event.Time()))
                .filter((customer, event) -> event.campaign() != null && !event.campaign().equals(SENTINEL))
                .map((customer, event) -> KeyValue.pair(event.campaign(), NOTHING))
                .groupByKey(Grouped.with("by-campaign", Serdes.String(), Serdes.ByteArray()))
                .windowedBy(TimeWindows.ofSizeAndGrace(PANE, NEVER_LATE))
                .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("panes")
                        .withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.Long()))
                .toStream()
                .process(() -> new RedisPanes(bench.get("BENCH_REDIS"), bench.get("BENCH_GROUP")));
        return builder.build();
    }

    private static Properties properties(Map<String, String> bench, String threads) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, bench.get("BENCH_GROUP"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bench.get("BENCH_KAFKA"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, bench.get("BENCH_STATE"));
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
        // Results are to be seen within about a second, like everybody's; 30 s is the default.
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 * 1024 * 1024);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 128 * 1024);
        return properties;
    }
}
