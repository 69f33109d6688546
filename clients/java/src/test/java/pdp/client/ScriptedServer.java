package pdp.client;

import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import pdp.v1.DecideRequest;
import pdp.v1.DecideResponse;
import pdp.v1.DecisionServiceGrpc;

/** A service on a free port of this machine that answers what it was told to, or never. */
final class ScriptedServer extends DecisionServiceGrpc.DecisionServiceImplBase
        implements ServerInterceptor, AutoCloseable {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final AtomicInteger calls = new AtomicInteger();
    private final List<String> credentials = new CopyOnWriteArrayList<>();
    private volatile DecideResponse answer;
    private final Server server;

    ScriptedServer() throws IOException {
        server =
                NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
                        .addService(this)
                        .intercept(this)
                        .build()
                        .start();
    }

    String target() {
        return "localhost:" + server.getPort();
    }

    void answers(DecideResponse response) {
        answer = response;
    }

    void never() {
        answer = null;
    }

    int calls() {
        return calls.get();
    }

    /** Every `authorization` header of every call. */
    List<String> credentials() {
        return credentials;
    }

    @Override
    public void decide(DecideRequest request, StreamObserver<DecideResponse> response) {
        if (answer != null) {
            response.onNext(answer);
            response.onCompleted();
        }
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        calls.incrementAndGet();
        Iterable<String> shown = headers.getAll(AUTHORIZATION);
        if (shown != null) {
            shown.forEach(credentials::add);
        }
        return next.startCall(call, headers);
    }

    @Override
    public void close() {
        server.shutdownNow();
    }
}
