package pdp.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ConnectivityState;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Gives every call a deadline, the credential and a chance to connect. */
final class EveryCall implements ClientInterceptor {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private static final long RECONNECT_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

    private final ManagedChannel channel;
    private final long deadlineNanos;
    private final String bearer;
    private final AtomicLong lastReconnect = new AtomicLong(System.nanoTime() - RECONNECT_NANOS);

    EveryCall(ManagedChannel channel, long deadlineNanos, String bearer) {
        this.channel = channel;
        this.deadlineNanos = deadlineNanos;
        this.bearer = bearer;
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        reconnect();
        CallOptions bounded = options;
        if (options.getDeadline() == null) {
            bounded = options.withDeadlineAfter(deadlineNanos, TimeUnit.NANOSECONDS);
        }
        return new SimpleForwardingClientCall<>(next.newCall(method, bounded)) {
            @Override
            public void start(Listener<A> listener, Metadata headers) {
                if (bearer != null) {
                    headers.discardAll(AUTHORIZATION);
                    headers.put(AUTHORIZATION, "Bearer " + bearer);
                }
                super.start(listener, headers);
            }
        };
    }

    /** Lets a call connect at once, ten times a second at most: the library's own pauses grow to two minutes. */
    private void reconnect() {
        long now = System.nanoTime();
        long last = lastReconnect.get();
        if (now - last >= RECONNECT_NANOS
                && channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE
                && lastReconnect.compareAndSet(last, now)) {
            channel.resetConnectBackoff();
        }
    }
}
