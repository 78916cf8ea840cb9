package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.time.Instant;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.streams.processor.TimestampExtractor;

/** What of an event matters here. */
@JsonIgnoreProperties(ignoreUnknown = true)
record Event(@JsonProperty("event_time") String time, @JsonProperty("campaign_id") String campaign) {

    /** Reads an event from its JSON. */
    static final class FromJson implements Deserializer<Event> {
        private static final ObjectReader READER = new ObjectMapper().readerFor(Event.class);

        @Override
        public Event deserialize(String topic, byte[] value) {
            try {
                return READER.readValue(value);
            } catch (IOException problem) {
                throw new SerializationException("A record of " + topic + " is no event", problem);
            }
        }
    }

    /** When it happened, not when it was sent. */
    static final class Time implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return Instant.parse(((Event) record.value()).time()).toEpochMilli();
        }
    }
}
