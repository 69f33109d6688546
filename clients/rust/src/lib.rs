#![doc = include_str!("../README.md")]

mod failures;
mod messages;
mod options;
mod retry;

/// The messages and stubs of the API, generated from the protos.
#[allow(clippy::all, missing_docs, rustdoc::all)]
pub mod v1 {
    include!("generated/pdp.v1.rs");
}

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{sleep_until, timeout_at, Instant};
use tonic::body::Body;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tower::util::MapResponse;

pub use failures::{error_info, ErrorInfo};
pub use messages::Arguments;
pub use options::{InvalidOptions, Options, Tls};
pub use tonic;

use v1::decision_service_client::DecisionServiceClient;

/// The gRPC service config that all clients of pdp follow. This one does so by hand.
pub const SERVICE_CONFIG: &str = include_str!("service_config.json");

type Guarded = MapResponse<Channel, fn(http::Response<Body>) -> http::Response<Body>>;
type Service = DecisionServiceClient<Guarded>;

/// A client of `DecisionService` on one connection, which is made when it is first needed and again when it is lost.
///
/// It can be cloned and used by any number of tasks; the clones share the connection. A call that fails is an `Err`, and
/// never an allow.
#[derive(Clone)]
pub struct Client {
    connection: Arc<Connection>,
    deadline: Duration,
}

struct Connection {
    target: String,
    /// Nothing once the client is closed.
    service: Mutex<Option<Service>>,
    authorization: Option<AsciiMetadataValue>,
    throttle: retry::Throttle,
}

impl Client {
    /// Makes a client of the service at `target`: `host:port`, `[v6]:port`, `dns:///host:port` or `unix:/path`. It has to
    /// be called within a tokio runtime, and waits for no connection.
    pub fn new(target: &str, options: Options) -> Result<Self, InvalidOptions> {
        let deadline = options::check_deadline(options.deadline)?;
        if options.max_receive_bytes == 0 {
            return Err(InvalidOptions("`max_receive_bytes` must be more than 0".to_owned()));
        }
        let address = options::Target::parse(target)?;
        let authorization = match &options.bearer {
            Some(key) => Some(options::authorization(key, &address, options.tls.is_some())?),
            None => None,
        };
        let endpoint = address.endpoint(options.tls.as_ref())?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(InvalidOptions(
                "a client has to be made within a tokio runtime".to_owned(),
            ));
        }
        let guarded = MapResponse::new(endpoint.connect_lazy(), failures::without_broken_details as fn(_) -> _);
        let service = Service::new(guarded).max_decoding_message_size(options.max_receive_bytes);
        let connection = Connection {
            target: target.to_owned(),
            service: Mutex::new(Some(service)),
            authorization,
            throttle: retry::Throttle::new(),
        };
        Ok(Self {
            connection: Arc::new(connection),
            deadline,
        })
    }

    /// The same client with another deadline: `client.with_deadline(Duration::from_millis(200))?.decide(request)`.
    pub fn with_deadline(&self, deadline: Duration) -> Result<Self, InvalidOptions> {
        Ok(Self {
            connection: self.connection.clone(),
            deadline: options::check_deadline(deadline)?,
        })
    }

    /// Closes the connection of this client and its clones once the calls on it have ended; new ones are CANCELLED.
    /// Dropping the last clone does the same.
    pub fn close(&self) {
        self.connection
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Answers the Cedar question: may this subject do this action on this resource in this context?
    pub async fn authorize(&self, request: v1::AuthorizeRequest) -> Result<v1::AuthorizeResponse, Status> {
        self.call(request, |mut service, request| async move {
            service.authorize(request).await
        })
        .await
    }

    /// Answers many Cedar questions against one revision, in order.
    pub async fn authorize_batch(
        &self,
        request: v1::AuthorizeBatchRequest,
    ) -> Result<v1::AuthorizeBatchResponse, Status> {
        self.call(request, |mut service, request| async move {
            service.authorize_batch(request).await
        })
        .await
    }

    /// Runs the interceptors on a tool call or on its result.
    pub async fn intercept(&self, request: v1::InterceptRequest) -> Result<v1::InterceptResponse, Status> {
        self.call(request, |mut service, request| async move {
            service.intercept(request).await
        })
        .await
    }

    /// Decides about one tool call: the interceptors, then the policies on the call as they left it.
    pub async fn decide(&self, request: v1::DecideRequest) -> Result<v1::DecideResponse, Status> {
        self.call(
            request,
            |mut service, request| async move { service.decide(request).await },
        )
        .await
    }

    /// Tells which of these tools the subject could ever call.
    pub async fn filter_tools(&self, request: v1::FilterToolsRequest) -> Result<v1::FilterToolsResponse, Status> {
        self.call(request, |mut service, request| async move {
            service.filter_tools(request).await
        })
        .await
    }

    /// Makes one call, in up to three attempts within one deadline. Only UNAVAILABLE is tried again; no call of the
    /// service does more twice than once, so that is safe.
    async fn call<Q, A, F>(&self, request: Q, send: impl Fn(Service, Request<Q>) -> F) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Instant::now() + self.deadline;
        let mut attempt = 1;
        loop {
            let sent = send(self.service()?, self.prepare(request.clone(), deadline));
            let status = match timeout_at(deadline, sent).await {
                Ok(Ok(response)) => {
                    self.connection.throttle.succeeded();
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => failures::as_grpc_says(status),
                Err(_) => {
                    return Err(Status::deadline_exceeded(format!(
                        "no answer within {:?}",
                        self.deadline
                    )))
                }
            };
            let again = Instant::now() + retry::pause_after(attempt);
            if status.code() != Code::Unavailable
                || !self.connection.throttle.may_retry()
                || attempt == retry::MAX_ATTEMPTS
                || again >= deadline
            {
                return Err(status);
            }
            sleep_until(again).await;
            attempt += 1;
        }
    }

    fn service(&self) -> Result<Service, Status> {
        let service = self.connection.service.lock().unwrap_or_else(PoisonError::into_inner);
        service.clone().ok_or_else(|| Status::cancelled("the client is closed"))
    }

    /// Adds what the service has to know: how long there is left, and who calls.
    fn prepare<Q>(&self, message: Q, deadline: Instant) -> Request<Q> {
        let mut request = Request::new(message);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(authorization) = &self.connection.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("target", &self.connection.target)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
