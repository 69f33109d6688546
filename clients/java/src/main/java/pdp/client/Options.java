package pdp.client;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.ManagedChannelRegistry.ProviderNotFoundException;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** The options of a client; one that cannot be is an IllegalArgumentException. */
public final class Options {
    /** How long a call may take where nothing else is said. */
    public static final Duration DEFAULT_DEADLINE = Duration.ofSeconds(1);

    /** The largest answer that is taken where nothing else is said, in bytes. */
    public static final int DEFAULT_MAX_RECEIVE_BYTES = 16 << 20;

    // No name is resolved for this: whatever is not plainly this machine is a network.
    private static final Pattern LOCAL =
            Pattern.compile(
                    "unix:.+|(dns:///)?(localhost|\\[::1\\]|127(\\.(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)){3})(:\\d+)?",
                    Pattern.CASE_INSENSITIVE);
    private static final Pattern KEY = Pattern.compile("[\\x21-\\x7e]+");

    private long deadlineNanos = DEFAULT_DEADLINE.toNanos();
    private int maxReceiveBytes = DEFAULT_MAX_RECEIVE_BYTES;
    private String bearer;
    private Tls tls;

    /** How long a call may take that does not say it itself. */
    public Options deadline(Duration deadline) {
        deadlineNanos = nanos(deadline);
        return this;
    }

    /** The largest answer that is taken, in bytes; a larger one is RESOURCE_EXHAUSTED. */
    public Options maxReceiveBytes(int bytes) {
        if (bytes <= 0) {
            throw new IllegalArgumentException("the largest answer `" + bytes + "` must be above 0 bytes");
        }
        maxReceiveBytes = bytes;
        return this;
    }

    /** The key that each call shows to the service; it needs TLS, a unix socket or a loopback address. */
    public Options bearer(String key) {
        if (!KEY.matcher(key).matches()) {
            throw new IllegalArgumentException("the bearer key must be visible ASCII characters without spaces");
        }
        bearer = key;
        return this;
    }

    /** Speaks TLS; without this the connection is plaintext. */
    public Options tls(Tls value) {
        tls = Objects.requireNonNull(value, "tls");
        return this;
    }

    /** A channel that is not connected yet. */
    ManagedChannel channel(String target) {
        if (target.isEmpty()) {
            throw new IllegalArgumentException("the target is empty");
        }
        if (bearer != null && tls == null && !LOCAL.matcher(target).matches()) {
            throw new IllegalArgumentException(
                    "target `" + target + "` is not on this machine: a bearer key goes there only over TLS");
        }
        ChannelCredentials credentials = tls == null ? InsecureChannelCredentials.create() : tls.credentials.build();
        try {
            ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, credentials);
            if (tls != null && tls.serverName != null) {
                builder.overrideAuthority(tls.serverName);
            }
            if (tls == null) {
                // A proxy of the environment would read everything, and could answer.
                builder.proxyDetector(address -> null);
            }
            return builder.defaultServiceConfig(Client.SERVICE_CONFIG)
                    // What DNS says must not change how calls are tried again.
                    .disableServiceConfigLookUp()
                    .maxInboundMessageSize(maxReceiveBytes)
                    .keepAliveTime(30, TimeUnit.SECONDS)
                    .keepAliveTimeout(5, TimeUnit.SECONDS)
                    .keepAliveWithoutCalls(true)
                    .build();
        } catch (ProviderNotFoundException failure) {
            String what = "` cannot be reached from here, or a certificate or key is not PEM";
            throw new IllegalArgumentException("target `" + target + what, failure);
        }
    }

    EveryCall everyCall(ManagedChannel channel) {
        return new EveryCall(channel, deadlineNanos, bearer);
    }

    /** The deadline in nanoseconds; always above zero. */
    static long nanos(Duration deadline) {
        try {
            long nanos = deadline.toNanos();
            if (nanos > 0) {
                return nanos;
            }
        } catch (ArithmeticException tooLong) {
            throw new IllegalArgumentException("deadline `" + deadline + "` is too long", tooLong);
        }
        throw new IllegalArgumentException("deadline `" + deadline + "` must be longer than zero");
    }
}
