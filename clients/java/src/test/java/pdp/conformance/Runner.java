package pdp.conformance;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import pdp.client.Client;
import pdp.client.Options;
import pdp.client.Tls;
import pdp.v1.AuthorizeBatchRequest;
import pdp.v1.AuthorizeBatchResponse;
import pdp.v1.AuthorizeBatchResult;
import pdp.v1.AuthorizeRequest;
import pdp.v1.AuthorizeResponse;
import pdp.v1.DecideRequest;
import pdp.v1.DecideResponse;
import pdp.v1.Denial;
import pdp.v1.DenialCode;
import pdp.v1.FilterToolsRequest;
import pdp.v1.InterceptRequest;
import pdp.v1.InterceptResponse;

/** Does what the conformance cases say, one JSON object a line; `clients/conformance/README.md` has the protocol. */
public final class Runner {
    private static final Gson GSON = new Gson();

    private final Map<String, Client> clients = new HashMap<>();

    private Runner() {}

    public static void main(String[] arguments) throws IOException {
        Runner runner = new Runner();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            answers.println(runner.answer(line));
        }
        runner.clients.values().forEach(Client::close);
    }

    private JsonObject answer(String line) {
        JsonObject answer = new JsonObject();
        try {
            JsonObject command = JsonParser.parseString(line).getAsJsonObject();
            answer.add("id", command.get("id"));
            switch (command.get("do").getAsString()) {
                case "describe" -> describe(answer);
                case "open" -> open(command, answer);
                case "call" -> call(command, answer);
                case "close" -> close(command, answer);
                default -> answer.addProperty("failed", "unknown command");
            }
        } catch (InvalidProtocolBufferException | RuntimeException failure) {
            answer.addProperty("failed", failure.toString());
        }
        return answer;
    }

    private static void describe(JsonObject answer) {
        answer.addProperty("language", "java");
        answer.add("service_config", GSON.toJsonTree(Client.SERVICE_CONFIG));
    }

    private void open(JsonObject command, JsonObject answer) {
        String name = command.get("client").getAsString();
        if (clients.containsKey(name)) {
            throw new IllegalArgumentException("client `" + name + "` is open");
        }
        JsonObject options = command.has("options") ? command.getAsJsonObject("options") : new JsonObject();
        try {
            clients.put(name, new Client(command.get("target").getAsString(), options(options)));
            answer.addProperty("opened", true);
        } catch (IllegalArgumentException | IOException refusal) {
            answer.addProperty("refused", refusal.toString());
        }
    }

    private static Options options(JsonObject json) throws IOException {
        Options options = new Options();
        if (json.has("deadline_ms")) {
            options.deadline(Duration.ofMillis(json.get("deadline_ms").getAsLong()));
        }
        if (json.has("max_receive_bytes")) {
            options.maxReceiveBytes(json.get("max_receive_bytes").getAsInt());
        }
        if (json.has("bearer")) {
            options.bearer(json.get("bearer").getAsString());
        }
        if (json.has("tls")) {
            options.tls(tls(json.getAsJsonObject("tls")));
        }
        return options;
    }

    private static Tls tls(JsonObject json) throws IOException {
        Tls tls = json.has("ca") ? Tls.trusting(file(json, "ca")) : Tls.system();
        if (json.has("certificate") || json.has("key")) {
            tls.identity(file(json, "certificate"), file(json, "key"));
        }
        return json.has("server_name") ? tls.serverName(json.get("server_name").getAsString()) : tls;
    }

    private static byte[] file(JsonObject json, String member) throws IOException {
        if (!json.has(member)) {
            throw new IllegalArgumentException("`" + member + "` is missing");
        }
        return Files.readAllBytes(Path.of(json.get(member).getAsString()));
    }

    private void call(JsonObject command, JsonObject answer) throws InvalidProtocolBufferException {
        Client client = client(command);
        byte[] request = Base64.getDecoder().decode(command.get("request").getAsString());
        JsonElement milliseconds = command.get("deadline_ms");
        Duration deadline = milliseconds == null ? null : Duration.ofMillis(milliseconds.getAsLong());
        try {
            Message response = ask(client, command.get("method").getAsString(), request, deadline);
            answer.addProperty("response", Base64.getEncoder().encodeToString(response.toByteArray()));
            judge(response, answer);
        } catch (StatusRuntimeException failure) {
            answer.add("error", error(failure));
        }
    }

    private static Message ask(Client client, String method, byte[] bytes, Duration deadline)
            throws InvalidProtocolBufferException {
        switch (method) {
            case "Authorize":
                AuthorizeRequest question = AuthorizeRequest.parseFrom(bytes);
                return deadline == null ? client.authorize(question) : client.authorize(question, deadline);
            case "AuthorizeBatch":
                AuthorizeBatchRequest questions = AuthorizeBatchRequest.parseFrom(bytes);
                return deadline == null ? client.authorizeBatch(questions) : client.authorizeBatch(questions, deadline);
            case "Intercept":
                InterceptRequest payload = InterceptRequest.parseFrom(bytes);
                return deadline == null ? client.intercept(payload) : client.intercept(payload, deadline);
            case "Decide":
                DecideRequest call = DecideRequest.parseFrom(bytes);
                return deadline == null ? client.decide(call) : client.decide(call, deadline);
            case "FilterTools":
                FilterToolsRequest list = FilterToolsRequest.parseFrom(bytes);
                return deadline == null ? client.filterTools(list) : client.filterTools(list, deadline);
            default:
                throw new IllegalArgumentException("unknown method `" + method + "`");
        }
    }

    private static void judge(Message response, JsonObject answer) {
        if (response instanceof AuthorizeResponse authorized) {
            judge(Client.allowed(authorized), authorized.hasDenial(), authorized.getDenial(), answer);
        } else if (response instanceof InterceptResponse intercepted) {
            judge(Client.allowed(intercepted), intercepted.hasDenial(), intercepted.getDenial(), answer);
        } else if (response instanceof DecideResponse decided) {
            judge(Client.allowed(decided), decided.hasDenial(), decided.getDenial(), answer);
        } else if (response instanceof AuthorizeBatchResponse batch) {
            JsonArray allowed = new JsonArray();
            for (AuthorizeBatchResult result : batch.getResultsList()) {
                boolean allows = Client.allowed(result.getResponse());
                allowed.add(result.hasError() ? JsonNull.INSTANCE : new JsonPrimitive(allows));
            }
            answer.add("allowed", allowed);
        }
    }

    private static void judge(boolean allowed, boolean denied, Denial denial, JsonObject answer) {
        answer.addProperty("allowed", allowed);
        if (denied) {
            DenialCode code = denial.getCode();
            boolean known = code != DenialCode.UNRECOGNIZED;
            answer.add("denial", known ? new JsonPrimitive(code.name()) : new JsonPrimitive(denial.getCodeValue()));
        }
    }

    private static JsonElement error(StatusRuntimeException failure) {
        JsonObject error = new JsonObject();
        String message = failure.getStatus().getDescription();
        error.addProperty("code", failure.getStatus().getCode().name());
        error.addProperty("message", message == null ? "" : message);
        Client.errorInfo(failure).ifPresent(info -> {
            error.addProperty("reason", info.reason());
            error.addProperty("field", info.field());
        });
        return error;
    }

    private void close(JsonObject command, JsonObject answer) {
        client(command).close();
        clients.remove(command.get("client").getAsString());
        answer.addProperty("closed", true);
    }

    private Client client(JsonObject command) {
        Client client = clients.get(command.get("client").getAsString());
        if (client == null) {
            throw new IllegalArgumentException("no such client");
        }
        return client;
    }
}
