//! What a client can be told, and where it connects to.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// Longer than this nobody waits for a decision.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// For the connection and for the TLS handshake, each: a peer that never finishes one must not hold up the calls.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The service permits pings that are 10 s apart.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of a client; `Options::default()` is plaintext without a credential.
#[derive(Clone)]
pub struct Options {
    /// How long a call may take, all its attempts together: more than 0, and a day at most.
    pub deadline: Duration,
    /// The largest response that is accepted, in bytes.
    pub max_receive_bytes: usize,
    /// The key that is sent with each call as `authorization: Bearer <key>`. It needs TLS, a unix socket or a loopback
    /// address.
    pub bearer: Option<String>,
    /// TLS; without it the connection is in clear.
    pub tls: Option<Tls>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            max_receive_bytes: 16 * 1024 * 1024,
            bearer: None,
            tls: None,
        }
    }
}

// A credential has no place in a log, so these print none.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("deadline", &self.deadline)
            .field("max_receive_bytes", &self.max_receive_bytes)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// How to make a TLS connection. All PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The certificates that the service's is checked against, instead of those of the system.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate and what it is signed by, for mTLS; with `key`.
    pub certificate: Option<Vec<u8>>,
    /// The private key of `certificate`.
    pub key: Option<Vec<u8>>,
    /// The name that the service's certificate must have, instead of the target's host.
    pub server_name: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Why a client cannot be made. It names no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOptions(pub(crate) String);

impl fmt::Display for InvalidOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InvalidOptions {}

fn invalid(text: impl Into<String>) -> InvalidOptions {
    InvalidOptions(text.into())
}

/// Refuses what is no deadline.
pub(crate) fn check_deadline(deadline: Duration) -> Result<Duration, InvalidOptions> {
    if deadline.is_zero() || deadline > LONGEST_DEADLINE {
        return Err(invalid(format!(
            "the deadline must be more than 0 and a day at most, not `{deadline:?}`"
        )));
    }
    Ok(deadline)
}

/// A service's address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Unix(String),
    Network { host: String, port: u16 },
}

impl Target {
    /// Reads `host:port`, `[v6]:port`, `dns:///host:port` or `unix:/path`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidOptions> {
        let refused = || {
            invalid(format!(
                "target `{text}` is none: it must be `host:port`, `[v6]:port`, `dns:///host:port` or `unix:/path`"
            ))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(refused())
            } else {
                Ok(Self::Unix(path.to_owned()))
            };
        }
        let address = text
            .strip_prefix("dns:")
            .map_or(text, |rest| rest.strip_prefix("///").unwrap_or(rest));
        let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().map_err(|_| refused())?;
        // Only what is surely one host gets through: the address that is checked must be the one that is connected to.
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().map_err(|_| refused())?.to_string(),
            None if !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) => {
                host.to_owned()
            }
            None => return Err(refused()),
        };
        Ok(Self::Network { host, port })
    }

    /// Whether what is sent there stays on this machine.
    fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Network { host, .. } => {
                host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        }
    }

    fn uri(&self, tls: bool) -> String {
        let scheme = if tls { "https" } else { "http" };
        match self {
            Self::Unix(path) => format!("unix://{path}"),
            Self::Network { host, port } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
            Self::Network { host, port } => format!("{scheme}://{host}:{port}"),
        }
    }

    /// The endpoint with everything but what a single call says.
    pub(crate) fn endpoint(&self, tls: Option<&Tls>) -> Result<Endpoint, InvalidOptions> {
        let broken = |error: tonic::transport::Error| invalid(chain(&error));
        let endpoint = Endpoint::from_shared(self.uri(tls.is_some()))
            .and_then(|endpoint| endpoint.user_agent(concat!("pdp-client-rust/", env!("CARGO_PKG_VERSION"))))
            .map_err(broken)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        match (self, tls) {
            (_, None) => Ok(endpoint),
            (Self::Unix(_), Some(_)) => Err(invalid("tls over a unix socket is not supported")),
            (_, Some(tls)) => endpoint.tls_config(tls_config(tls)?).map_err(broken),
        }
    }
}

fn tls_config(tls: &Tls) -> Result<ClientTlsConfig, InvalidOptions> {
    let config = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
    let config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(certificates("tls.ca", ca)?)),
        None => config.with_native_roots(),
    };
    let config = match (&tls.certificate, &tls.key) {
        (None, None) => config,
        (Some(certificate), Some(key)) => {
            config.identity(Identity::from_pem(certificates("tls.certificate", certificate)?, key))
        }
        _ => {
            return Err(invalid(
                "`tls.certificate` and `tls.key` belong together: give both or neither",
            ))
        }
    };
    Ok(match &tls.server_name {
        Some(name) => config.domain_name(name),
        None => config,
    })
}

/// Refuses a text without any certificate, of which the TLS library would make an empty list.
fn certificates<'a>(name: &str, pem: &'a [u8]) -> Result<&'a [u8], InvalidOptions> {
    let marker = b"-----BEGIN CERTIFICATE-----";
    if pem.windows(marker.len()).any(|window| window == marker) {
        Ok(pem)
    } else {
        Err(invalid(format!("`{name}` has no certificate in PEM")))
    }
}

/// The value of `authorization`. A key is not sent in clear over a network.
pub(crate) fn authorization(key: &str, target: &Target, tls: bool) -> Result<AsciiMetadataValue, InvalidOptions> {
    if !tls && !target.is_local() {
        return Err(invalid(
            "`bearer` needs `tls`, a unix socket or a loopback address: it is not sent in clear over a network",
        ));
    }
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid(
            "`bearer` must be printable ASCII without blanks, and not empty",
        ));
    }
    let mut value: AsciiMetadataValue = format!("Bearer {key}")
        .parse()
        .map_err(|_| invalid("`bearer` cannot be sent as metadata"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error, what caused it, and so on.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error and its causes in one line, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .fold(String::new(), |text, cause| match text.contains(&cause) {
            true => text,
            false if text.is_empty() => cause,
            false => format!("{text}: {cause}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(host: &str, port: u16) -> Target {
        Target::Network {
            host: host.to_owned(),
            port,
        }
    }

    /// Every documented form of a target is understood.
    #[test]
    fn targets() {
        assert_eq!(Target::parse("127.0.0.1:7437"), Ok(network("127.0.0.1", 7437)));
        assert_eq!(Target::parse("[::1]:7437"), Ok(network("::1", 7437)));
        assert_eq!(Target::parse("dns:///pdp.test:443"), Ok(network("pdp.test", 443)));
        assert_eq!(
            Target::parse("unix:/run/pdp.sock"),
            Ok(Target::Unix("/run/pdp.sock".to_owned()))
        );
        assert_eq!(
            Target::parse("unix:///run/pdp.sock"),
            Ok(Target::Unix("/run/pdp.sock".to_owned()))
        );
    }

    /// A target that could mean two hosts, or none, is refused.
    #[test]
    fn no_targets() {
        for text in [
            "",
            "pdp.test",
            ":1",
            "::1:1",
            "[pdp.test]:1",
            "[::1]",
            "h:x",
            "h:65536",
            "unix:",
            "unix://",
            "a@b:1",
            "127.0.0.1:1@pdp.test:2",
            "http://pdp.test:1",
            "pdp.test/:1",
            "pdp test:1",
            "dns://a/pdp.test:1",
            "h#:1",
            "é:1",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    /// A key goes in clear only to where it stays on the machine.
    #[test]
    fn key_stays_here() {
        for local in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "LocalHost:1",
            "dns:///localhost:1",
            "unix:/s",
        ] {
            assert!(
                authorization("k", &Target::parse(local).unwrap(), false).is_ok(),
                "{local}"
            );
        }
        for away in [
            "128.0.0.1:1",
            "0.0.0.0:1",
            "[::]:1",
            "[::2]:1",
            "[::ffff:127.0.0.1]:1",
            "pdp.test:1",
            "localhost.pdp.test:1",
            "127.0.0.1.pdp.test:1",
            "127.1:1",
            "2130706433:1",
        ] {
            let target = Target::parse(away).unwrap();
            assert!(authorization("k", &target, false).is_err(), "{away}");
            assert!(authorization("k", &target, true).is_ok(), "{away}");
        }
    }

    /// A key that is no header value is refused in words that do not repeat it.
    #[test]
    fn broken_keys() {
        for key in ["", "se cret", "secret\r\nx: y", "secret\u{e9}"] {
            let error = authorization(key, &network("localhost", 1), false).unwrap_err();
            assert!(!error.to_string().contains("se"), "{error}");
        }
    }

    /// There is no way to wait for ever.
    #[test]
    fn deadlines() {
        assert!(check_deadline(Duration::from_nanos(1)).is_ok());
        assert!(check_deadline(Duration::ZERO).is_err());
        assert!(check_deadline(Duration::MAX).is_err());
    }

    /// A certificate without its key, a key without its certificate, and a CA that has none, are refused.
    #[test]
    fn tls_material() {
        let pem = || Some(b"-----BEGIN CERTIFICATE-----".to_vec());
        assert!(tls_config(&Tls {
            certificate: pem(),
            ..Tls::default()
        })
        .is_err());
        assert!(tls_config(&Tls {
            key: pem(),
            ..Tls::default()
        })
        .is_err());
        assert!(tls_config(&Tls {
            ca: Some(b"nothing".to_vec()),
            ..Tls::default()
        })
        .is_err());
    }
}
