package pdp.client;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.Status;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.protobuf.StatusProto;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import pdp.v1.AuthorizeBatchRequest;
import pdp.v1.AuthorizeBatchResponse;
import pdp.v1.AuthorizeRequest;
import pdp.v1.AuthorizeResponse;
import pdp.v1.DecideRequest;
import pdp.v1.DecideResponse;
import pdp.v1.Decision;
import pdp.v1.DecisionServiceGrpc;
import pdp.v1.DecisionServiceGrpc.DecisionServiceBlockingStub;
import pdp.v1.DecisionServiceGrpc.DecisionServiceFutureStub;
import pdp.v1.EntityUid;
import pdp.v1.FilterToolsRequest;
import pdp.v1.FilterToolsResponse;
import pdp.v1.InterceptRequest;
import pdp.v1.InterceptResponse;
import pdp.v1.Subject;
import pdp.v1.ToolCall;

/**
 * Asks a policy decision point about the tool calls of agents.
 *
 * <p>A denial is an answer; only what {@code allowed} says is an allow. An RPC that fails throws {@link
 * io.grpc.StatusRuntimeException} and is never an allow. One client has one connection, which all threads may use.
 */
public final class Client implements AutoCloseable {
    /** The gRPC service config, in gRPC's JSON form: UNAVAILABLE is tried again; no RPC does more twice than once. */
    public static final Map<String, Object> SERVICE_CONFIG =
            Map.of(
                    "methodConfig",
                    List.of(
                            Map.of(
                                    "name", List.of(Map.of("service", "pdp.v1.DecisionService")),
                                    "retryPolicy",
                                            Map.of(
                                                    "maxAttempts", 3.0,
                                                    "initialBackoff", "0.02s",
                                                    "maxBackoff", "0.2s",
                                                    "backoffMultiplier", 2.0,
                                                    "retryableStatusCodes", List.of("UNAVAILABLE")))),
                    "retryThrottling", Map.of("maxTokens", 10.0, "tokenRatio", 0.1));

    private final String target;
    private final ManagedChannel channel;
    private final DecisionServiceBlockingStub blocking;
    private final DecisionServiceFutureStub futures;

    /** A client over plaintext, with every default. */
    public Client(String target) {
        this(target, new Options());
    }

    /** A client of {@code host:port}, {@code [v6]:port}, {@code unix:/path} or {@code dns:///host:port}. */
    public Client(String target, Options options) {
        this.target = target;
        this.channel = options.channel(target);
        // Connecting begins now, and nobody waits for it: in a fresh JVM it would take most of the first deadline.
        channel.getState(true);
        Channel intercepted = ClientInterceptors.intercept(channel, options.everyCall(channel));
        this.blocking = DecisionServiceGrpc.newBlockingStub(intercepted);
        this.futures = DecisionServiceGrpc.newFutureStub(intercepted);
    }

    /** May this subject do this action on this resource in this context? */
    public AuthorizeResponse authorize(AuthorizeRequest request) {
        return blocking.authorize(request);
    }

    /** As above, within {@code deadline}. */
    public AuthorizeResponse authorize(AuthorizeRequest request, Duration deadline) {
        return within(deadline).authorize(request);
    }

    /** Many questions against one revision, answered in order. */
    public AuthorizeBatchResponse authorizeBatch(AuthorizeBatchRequest request) {
        return blocking.authorizeBatch(request);
    }

    /** As above, within {@code deadline}. */
    public AuthorizeBatchResponse authorizeBatch(AuthorizeBatchRequest request, Duration deadline) {
        return within(deadline).authorizeBatch(request);
    }

    /** What the interceptors make of a tool call or of its result. */
    public InterceptResponse intercept(InterceptRequest request) {
        return blocking.intercept(request);
    }

    /** As above, within {@code deadline}. */
    public InterceptResponse intercept(InterceptRequest request, Duration deadline) {
        return within(deadline).intercept(request);
    }

    /** Interceptors and policies about one tool call; if allowed, call the tool with the arguments of the answer. */
    public DecideResponse decide(DecideRequest request) {
        return blocking.decide(request);
    }

    /** As above, within {@code deadline}. */
    public DecideResponse decide(DecideRequest request, Duration deadline) {
        return within(deadline).decide(request);
    }

    /** Which of these tools could the subject ever call? */
    public FilterToolsResponse filterTools(FilterToolsRequest request) {
        return blocking.filterTools(request);
    }

    /** As above, within {@code deadline}. */
    public FilterToolsResponse filterTools(FilterToolsRequest request, Duration deadline) {
        return within(deadline).filterTools(request);
    }

    /** The same five RPCs as futures, over the same connection and with the same deadline, retries and credential. */
    public DecisionServiceFutureStub futures() {
        return futures;
    }

    /** Ends the connection at once; a call that still runs fails. May be called again. */
    @Override
    public void close() {
        channel.shutdownNow();
    }

    @Override
    public String toString() {
        return "Client[" + target + "]";
    }

    private DecisionServiceBlockingStub within(Duration deadline) {
        return blocking.withDeadlineAfter(Options.nanos(deadline), TimeUnit.NANOSECONDS);
    }

    /** True only for DECISION_ALLOW; no decision, and one that this client does not know, is a denial. */
    public static boolean allowed(AuthorizeResponse response) {
        return response.getDecision() == Decision.DECISION_ALLOW;
    }

    /** True only for DECISION_ALLOW; no decision, and one that this client does not know, is a denial. */
    public static boolean allowed(InterceptResponse response) {
        return response.getDecision() == Decision.DECISION_ALLOW;
    }

    /** True only for DECISION_ALLOW; no decision, and one that this client does not know, is a denial. */
    public static boolean allowed(DecideResponse response) {
        return response.getDecision() == Decision.DECISION_ALLOW;
    }

    /** The subject that is this entity, such as {@code entity("Agent", "coder")}. */
    public static Subject entity(String type, String id) {
        return Subject.newBuilder().setEntity(EntityUid.newBuilder().setType(type).setId(id)).build();
    }

    /** The subject that this JWT names. */
    public static Subject token(String jwt) {
        return Subject.newBuilder().setToken(jwt).build();
    }

    /** A call with arguments in JSON text; IllegalArgumentException if the text has no UTF-8 form. */
    public static ToolCall toolCall(String server, String tool, String argumentsJson) {
        try {
            // String.getBytes would put `?` for a lone surrogate: other arguments than those that were meant.
            ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(argumentsJson));
            return toolCall(server, tool, ByteString.copyFrom(bytes));
        } catch (CharacterCodingException failure) {
            throw new IllegalArgumentException("the arguments have a surrogate without its other half", failure);
        }
    }

    /** A call with arguments in UTF-8 JSON, sent byte for byte; {@code toBuilder().setSessionId} adds the session. */
    public static ToolCall toolCall(String server, String tool, ByteString argumentsJson) {
        return ToolCall.newBuilder().setServer(server).setTool(tool).setArgumentsJson(argumentsJson).build();
    }

    /** What the service says is wrong with a request: a constant such as MISSING_FIELD, and the field's path or "". */
    public record ErrorInfo(String reason, String field) {}

    /** What the service says about a failed call, if it says it. */
    public static Optional<ErrorInfo> errorInfo(Throwable failure) {
        try {
            Status status = StatusProto.fromThrowable(failure);
            for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
                if (detail.is(com.google.rpc.ErrorInfo.class)) {
                    com.google.rpc.ErrorInfo info = detail.unpack(com.google.rpc.ErrorInfo.class);
                    if (info.getDomain().equals("pdp.v1")) {
                        return Optional.of(new ErrorInfo(info.getReason(), info.getMetadataOrDefault("field", "")));
                    }
                }
            }
        } catch (InvalidProtocolBufferException | IllegalArgumentException malformed) {
            // The details come from the wire; where they are none, the status alone has to do.
            return Optional.empty();
        }
        return Optional.empty();
    }
}
