//! What the other languages' gRPC libraries do with `service_config.json`: tonic knows no such thing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const MAX_ATTEMPTS: u32 = 3;
const INITIAL_BACKOFF: Duration = Duration::from_millis(20);
const MAX_BACKOFF: Duration = Duration::from_millis(200);
const BACKOFF_MULTIPLIER: u32 = 2;

// The tokens of the throttle, in thousandths.
const MAX_TOKENS: u32 = 10_000;
const TOKENS_PER_SUCCESS: u32 = 100;
const TOKENS_PER_FAILURE: u32 = 1_000;

/// How long to wait after the attempt of this number, the first being 1: the back-off times 0.8 to 1.2.
pub(crate) fn pause_after(attempt: u32) -> Duration {
    let backoff = INITIAL_BACKOFF.saturating_mul(BACKOFF_MULTIPLIER.saturating_pow(attempt - 1));
    backoff.min(MAX_BACKOFF).mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Stops retries while most calls fail; one for all calls of a client.
pub(crate) struct Throttle(AtomicU32);

impl Throttle {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(MAX_TOKENS))
    }

    pub(crate) fn succeeded(&self) {
        self.change(|tokens| (tokens + TOKENS_PER_SUCCESS).min(MAX_TOKENS));
    }

    /// Counts an attempt that could be made again, and tells whether it may.
    pub(crate) fn may_retry(&self) -> bool {
        self.change(|tokens| tokens.saturating_sub(TOKENS_PER_FAILURE)) > MAX_TOKENS / 2
    }

    fn change(&self, change: impl Fn(u32) -> u32) -> u32 {
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| Some(change(tokens)));
        change(before.unwrap_or_else(|tokens| tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers here are those of the service config.
    #[test]
    fn service_config() {
        let config: serde_json::Value = serde_json::from_str(crate::SERVICE_CONFIG).unwrap();
        let seconds = |pause: Duration| format!("{}s", pause.as_secs_f64());
        assert_eq!(
            config["methodConfig"][0]["retryPolicy"],
            serde_json::json!({
                "maxAttempts": MAX_ATTEMPTS,
                "initialBackoff": seconds(INITIAL_BACKOFF),
                "maxBackoff": seconds(MAX_BACKOFF),
                "backoffMultiplier": BACKOFF_MULTIPLIER,
                "retryableStatusCodes": ["UNAVAILABLE"],
            })
        );
        let throttling = &config["retryThrottling"];
        assert_eq!(throttling["maxTokens"], MAX_TOKENS / TOKENS_PER_FAILURE);
        assert_eq!(
            throttling["tokenRatio"],
            f64::from(TOKENS_PER_SUCCESS) / f64::from(TOKENS_PER_FAILURE)
        );
    }

    /// A pause doubles, stays within a fifth of its back-off, and has an upper limit.
    #[test]
    fn pauses() {
        for (attempt, milliseconds) in [(1, 20.0), (2, 40.0), (3, 80.0), (5, 200.0), (1000, 200.0)] {
            let pause = pause_after(attempt).as_secs_f64() * 1000.0;
            assert!(
                (0.79 * milliseconds..1.21 * milliseconds).contains(&pause),
                "{attempt}: {pause}"
            );
        }
    }

    /// Half the tokens gone, nothing is retried until enough calls went well.
    #[test]
    fn throttle() {
        let throttle = Throttle::new();
        let allowed = (0..10).filter(|_| throttle.may_retry()).count();
        assert_eq!(allowed, 4);
        for _ in 0..60 {
            throttle.succeeded();
        }
        assert!(!throttle.may_retry());
        for _ in 0..11 {
            throttle.succeeded();
        }
        assert!(throttle.may_retry());
    }
}
