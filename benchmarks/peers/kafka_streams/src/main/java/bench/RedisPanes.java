package bench;

import java.time.Duration;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;

/** Writes counts to Redis in pipelines; the store's cache has seen to it that each comes but once a commit. */
final class RedisPanes implements Processor<Windowed<String>, Long, Void, Void> {
    private static final Duration AT_LEAST_EVERY = Duration.ofMillis(100);
    private static final int AT_MOST = 1_000;

    private final String url;
    private final String prefix;
    private Jedis redis;
    private Pipeline pipeline;
    private int waiting;

    RedisPanes(String url, String group) {
        this.url = url;
        this.prefix = "bench:" + group + ":";
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
        redis = new Jedis(url);
        pipeline = redis.pipelined();
        context.schedule(AT_LEAST_EVERY, PunctuationType.WALL_CLOCK_TIME, now -> send());
    }

    @Override
    public void process(Record<Windowed<String>, Long> record) {
        Windowed<String> pane = record.key();
        pipeline.hset(prefix + pane.key(), Long.toString(pane.window().start()), Long.toString(record.value()));
        if (++waiting >= AT_MOST) {
            send();
        }
    }

    @Override
    public void close() {
        send();
        redis.close();
    }

    private void send() {
        if (waiting > 0) {
            pipeline.sync();
            waiting = 0;
        }
    }
}
