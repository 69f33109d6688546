package pdp.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.Futures;
import com.google.gson.Gson;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import pdp.v1.AuthorizeResponse;
import pdp.v1.DecideRequest;
import pdp.v1.DecideResponse;
import pdp.v1.Decision;
import pdp.v1.InterceptResponse;

/** What the conformance cases cannot see from outside, and the attacks. */
final class ClientTest {
    private static final DecideResponse ALLOW =
            DecideResponse.newBuilder().setDecision(Decision.DECISION_ALLOW).build();
    private static final DecideRequest REQUEST = DecideRequest.getDefaultInstance();

    private ScriptedServer server;

    @BeforeEach
    void start() throws IOException {
        server = new ScriptedServer();
    }

    @AfterEach
    void stop() {
        server.close();
    }

    private Client client(Options options) {
        return new Client(server.target(), options);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 2, 3, 99, -1})
    @DisplayName("Every decision but DECISION_ALLOW is no allow, a number that nobody knows too.")
    void onlyAllowIsAllow(int decision) {
        assertFalse(Client.allowed(AuthorizeResponse.newBuilder().setDecisionValue(decision).build()));
        assertFalse(Client.allowed(InterceptResponse.newBuilder().setDecisionValue(decision).build()));
        assertFalse(Client.allowed(DecideResponse.newBuilder().setDecisionValue(decision).build()));
    }

    @Test
    @DisplayName("DECISION_ALLOW is an allow.")
    void allowIsAllow() {
        assertTrue(Client.allowed(AuthorizeResponse.newBuilder().setDecisionValue(1).build()));
        assertTrue(Client.allowed(InterceptResponse.newBuilder().setDecisionValue(1).build()));
        assertTrue(Client.allowed(ALLOW));
    }

    @Test
    @DisplayName("The client's deadline holds for a future too, and for one that asks for no deadline.")
    void futuresHaveTheDeadline() {
        server.never();
        try (Client client = client(new Options().deadline(Duration.ofMillis(50)))) {
            for (var stub : List.of(client.futures(), client.futures().withDeadline(null))) {
                ExecutionException failure =
                        assertThrows(ExecutionException.class, () -> stub.decide(REQUEST).get());
                assertEquals(Status.Code.DEADLINE_EXCEEDED, Status.fromThrowable(failure).getCode());
            }
        }
    }

    @Test
    @DisplayName("A future gives the answer that the service gave.")
    void futuresAnswer() {
        server.answers(ALLOW);
        try (Client client = client(new Options().deadline(Duration.ofSeconds(20)))) {
            assertEquals(ALLOW, Futures.getUnchecked(client.futures().decide(REQUEST)));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"PT0S", "PT-1S", "PT2562047788015215H30M7S"})
    @DisplayName("A deadline that is none is refused by the client and by a call, and nothing is asked.")
    void noDeadlineIsRefused(String text) {
        Duration deadline = Duration.parse(text);
        assertThrows(IllegalArgumentException.class, () -> new Options().deadline(deadline));
        try (Client client = client(new Options())) {
            assertThrows(IllegalArgumentException.class, () -> client.decide(REQUEST, deadline));
        }
        assertEquals(0, server.calls());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "10.0.0.1:7437",
                "pdp.test:7437",
                "localhost.pdp.test:7437",
                "127.0.0.1.pdp.test:7437",
                "127.0.0.256:7437",
                "127.0.1:7437",
                "127.0.0.1@pdp.test:7437",
                "localhost:7437\n.pdp.test",
                "dns:///pdp.test:7437",
                "dns://10.0.0.1/localhost:7437",
                "[::2]:7437",
                "unix.pdp.test:7437",
                "0.0.0.0:7437",
            })
    @DisplayName("A key in clear to what may be another machine is refused, and the error does not tell the key.")
    void keyStaysOnThisMachine(String target) {
        Options options = new Options().bearer("the-key");
        var refusal = assertThrows(IllegalArgumentException.class, () -> new Client(target, options));
        assertFalse(refusal.toString().contains("the-key"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "two words", "line\r\nx-more: 1", "kéy"})
    @DisplayName("A key that is no header value is refused, and the error does not tell it.")
    void keyIsAHeaderValue(String key) {
        var refusal = assertThrows(IllegalArgumentException.class, () -> new Options().bearer(key));
        assertTrue(key.isEmpty() || !refusal.toString().contains(key));
    }

    @Test
    @DisplayName("A call shows the key once, in place of one that the caller attached, and the client's text has none.")
    void keyIsSent() {
        server.answers(ALLOW);
        try (Client client = client(new Options().deadline(Duration.ofSeconds(20)).bearer("the-key"))) {
            Metadata attached = new Metadata();
            attached.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer another");
            var stub = client.futures().withInterceptors(MetadataUtils.newAttachHeadersInterceptor(attached));
            assertEquals(ALLOW, Futures.getUnchecked(stub.decide(REQUEST)));
            assertEquals(List.of("Bearer the-key"), server.credentials());
            assertFalse(client.toString().contains("the-key"));
        }
    }

    @Test
    @DisplayName("A certificate without its key, and bytes that are neither, are refused.")
    void halfAnIdentityIsRefused() {
        byte[] nothing = "nothing".getBytes(StandardCharsets.UTF_8);
        assertThrows(NullPointerException.class, () -> Tls.system().identity(nothing, null));
        assertThrows(NullPointerException.class, () -> Tls.system().identity(null, nothing));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Client("localhost:1", new Options().tls(Tls.trusting(nothing))));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Client("localhost:1", new Options().tls(Tls.system().identity(nothing, nothing))));
    }

    @Test
    @DisplayName("Arguments are sent as the bytes that they are, and text without a UTF-8 form is refused.")
    void argumentsAreTheirBytes() {
        ByteString bytes = ByteString.copyFromUtf8("{\"größe\": 9223372036854775807}");
        assertEquals(bytes, Client.toolCall("s", "t", "{\"größe\": 9223372036854775807}").getArgumentsJson());
        assertThrows(IllegalArgumentException.class, () -> Client.toolCall("s", "t", "{\"a\": \"\ud83d\"}"));
    }

    private static StatusRuntimeException failure(Any detail) {
        return StatusProto.toStatusRuntimeException(
                com.google.rpc.Status.newBuilder().setCode(3).addDetails(detail).build());
    }

    private static Any info(String domain) {
        return Any.pack(
                com.google.rpc.ErrorInfo.newBuilder()
                        .setDomain(domain)
                        .setReason("MISSING_FIELD")
                        .putMetadata("field", "subject")
                        .build());
    }

    @Test
    @DisplayName("What the service says about an error is found; what somebody else says, and no error at all, is not.")
    void errorInfoIsTheServices() {
        Optional<Client.ErrorInfo> expected = Optional.of(new Client.ErrorInfo("MISSING_FIELD", "subject"));
        assertEquals(expected, Client.errorInfo(failure(info("pdp.v1"))));
        assertEquals(Optional.empty(), Client.errorInfo(failure(info("pdp.test"))));
        assertEquals(Optional.empty(), Client.errorInfo(new IOException("no status")));
    }

    @Test
    @DisplayName("Details that are no message are no details, and the status stays what it is.")
    void hostileDetailsAreNone() {
        ByteString broken = ByteString.copyFrom(new byte[] {-1, -1, -1});
        assertEquals(Optional.empty(), Client.errorInfo(failure(info("pdp.v1").toBuilder().setValue(broken).build())));
        Metadata trailers = new Metadata();
        trailers.put(Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), broken.toByteArray());
        assertEquals(Optional.empty(), Client.errorInfo(Status.INVALID_ARGUMENT.asRuntimeException(trailers)));
    }

    @Test
    @DisplayName("The service config is the one of all clients.")
    void serviceConfigIsShared() throws IOException {
        String shared = Files.readString(Path.of("../service_config.json"));
        assertEquals(
                new Gson().toJsonTree(new Gson().fromJson(shared, Object.class)),
                JsonParser.parseString(new Gson().toJson(Client.SERVICE_CONFIG)));
    }
}
