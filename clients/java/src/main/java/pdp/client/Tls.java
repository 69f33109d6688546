package pdp.client;

import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Objects;

/** TLS: whom to trust, who to be, and what name to ask for. Certificates and keys are PEM. */
public final class Tls {
    final TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
    String serverName;

    private Tls() {}

    /** TLS that trusts the certificate authorities of the system. */
    public static Tls system() {
        return new Tls();
    }

    /** TLS that trusts these certificate authorities and no other. */
    public static Tls trusting(byte[] certificates) {
        Tls tls = new Tls();
        supply(() -> tls.credentials.trustManager(new ByteArrayInputStream(certificates)));
        return tls;
    }

    /** Shows this certificate to the service (mTLS). */
    public Tls identity(byte[] certificate, byte[] key) {
        Objects.requireNonNull(certificate, "certificate");
        Objects.requireNonNull(key, "key");
        supply(() -> credentials.keyManager(new ByteArrayInputStream(certificate), new ByteArrayInputStream(key)));
        return this;
    }

    /** Expects this name in the service's certificate instead of the target's. */
    public Tls serverName(String name) {
        serverName = Objects.requireNonNull(name, "name");
        return this;
    }

    private interface Reading {
        Object run() throws IOException;
    }

    private static void supply(Reading reading) {
        try {
            reading.run();
        } catch (IOException failure) {
            throw new IllegalArgumentException("a certificate or a key cannot be read", failure);
        }
    }
}
