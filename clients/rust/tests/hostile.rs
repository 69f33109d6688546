//! What a client makes of services that answer badly, late or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::Reason;
use http::HeaderMap;
use pdp_client::tonic::Code;
use pdp_client::v1::{DecideRequest, DecideResponse};
use pdp_client::{error_info, Client, Options};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An answer to one attempt.
enum Reply {
    /// A status in the headers, and nothing else.
    Status(&'static [(&'static str, &'static str)]),
    /// A message, and then a status in the trailers.
    Message(Bytes, &'static [(&'static str, &'static str)]),
    Reset(Reason),
    Never,
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];
const UNAVAILABLE: &[(&str, &str)] = &[("grpc-status", "14"), ("grpc-message", "not yet")];
const INTERNAL: &[(&str, &str)] = &[("grpc-status", "13")];
const BROKEN_DETAILS: &[(&str, &str)] = &[("grpc-status", "13"), ("grpc-status-details-bin", "%%%")];

fn allow() -> Bytes {
    DecideResponse {
        decision: 1,
        ..Default::default()
    }
    .encode_to_vec()
    .into()
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// A gRPC server that says `reply(n)` to the attempt of number n, from 1; its address, and how many attempts there were.
async fn server(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let (counter, reply) = (attempts.clone(), Arc::new(reply));
    let address = peer(move |socket| {
        let (counter, reply) = (counter.clone(), reply.clone());
        async move {
            let mut connection = h2::server::handshake(socket).await.unwrap();
            let mut unanswered = Vec::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let told = |name, value: &str| request.headers().get(name).is_some_and(|given| given == value);
                assert!(told("authorization", "Bearer good"));
                assert!(request.headers().contains_key("grpc-timeout"));
                match reply(counter.fetch_add(1, Ordering::SeqCst) + 1) {
                    Reply::Never => unanswered.push(respond),
                    answer => say(answer, &mut respond),
                }
            }
        }
    });
    (address.await, attempts)
}

fn say(reply: Reply, respond: &mut SendResponse<Bytes>) {
    let response = || {
        http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap()
    };
    match reply {
        Reply::Status(status) => {
            let mut response = response();
            response.headers_mut().extend(headers(status));
            respond.send_response(response, true).unwrap();
        }
        Reply::Message(message, status) => {
            let mut stream = respond.send_response(response(), false).unwrap();
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(message.len().try_into().unwrap());
            frame.put(message);
            stream.send_data(frame.freeze(), false).unwrap();
            stream.send_trailers(headers(status)).unwrap();
        }
        Reply::Reset(reason) => respond.send_reset(reason),
        Reply::Never => {}
    }
}

/// A listener that hands every connection to `serve`; its address.
async fn peer<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: std::future::Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

fn client(address: &str) -> Client {
    let bearer = Some("good".to_owned());
    Client::new(
        address,
        Options {
            bearer,
            max_receive_bytes: 1000,
            deadline: Duration::from_secs(5),
            ..Options::default()
        },
    )
    .unwrap()
}

/// The code that a call fails with.
async fn failure(client: &Client) -> Code {
    client.decide(DecideRequest::default()).await.unwrap_err().code()
}

/// After two attempts that are UNAVAILABLE a third one is made, and its answer counts.
#[tokio::test]
async fn third_attempt_answers() {
    let (address, attempts) = server(|n| match n {
        1 | 2 => Reply::Status(UNAVAILABLE),
        _ => Reply::Message(allow(), OK),
    })
    .await;
    assert!(client(&address)
        .decide(DecideRequest::default())
        .await
        .unwrap()
        .allowed());
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

/// Three attempts are all there are.
#[tokio::test]
async fn no_fourth_attempt() {
    let (address, attempts) = server(|_| Reply::Status(UNAVAILABLE)).await;
    assert_eq!(failure(&client(&address)).await, Code::Unavailable);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

/// While most calls fail, a call is one attempt.
#[tokio::test]
async fn retries_are_throttled() {
    let (address, attempts) = server(|_| Reply::Status(UNAVAILABLE)).await;
    let client = client(&address);
    for _ in 0..4 {
        assert_eq!(failure(&client).await, Code::Unavailable);
    }
    assert_eq!(attempts.load(Ordering::SeqCst), 3 + 2 + 1 + 1);
}

/// Another status than UNAVAILABLE is not tried again.
#[tokio::test]
async fn only_unavailable_is_retried() {
    let (address, attempts) = server(|_| Reply::Status(INTERNAL)).await;
    assert_eq!(failure(&client(&address)).await, Code::Internal);
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

/// An allow whose status is a failure is a failure.
#[tokio::test]
async fn status_after_an_allow_counts() {
    let (address, _) = server(|_| Reply::Message(allow(), INTERNAL)).await;
    assert_eq!(failure(&client(&address)).await, Code::Internal);
}

/// Status details that are no base64, in the headers or in the trailers, are passed over.
#[tokio::test]
async fn broken_details() {
    let (address, _) = server(|_| Reply::Status(BROKEN_DETAILS)).await;
    let status = client(&address).decide(DecideRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), error_info(&status)), (Code::Internal, None));
    let (address, _) = server(|_| Reply::Message(allow(), BROKEN_DETAILS)).await;
    assert_eq!(failure(&client(&address)).await, Code::Internal);
}

/// Bytes that are no message are a failure.
#[tokio::test]
async fn no_message() {
    let (address, _) = server(|_| Reply::Message(Bytes::from_static(b"\x08\x01\xff\xff\xff"), OK)).await;
    assert_eq!(failure(&client(&address)).await, Code::Internal);
}

/// A response over the client's limit is RESOURCE_EXHAUSTED, whatever tonic calls it.
#[tokio::test]
async fn too_large() {
    let (address, attempts) = server(|_| Reply::Message(vec![0; 1001].into(), OK)).await;
    assert_eq!(failure(&client(&address)).await, Code::ResourceExhausted);
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

/// A stream that the service resets has the code that gRPC gives to the reason.
#[tokio::test]
async fn resets() {
    for (reason, code) in [
        (Reason::CANCEL, Code::Cancelled),
        (Reason::INTERNAL_ERROR, Code::Internal),
        (Reason::REFUSED_STREAM, Code::Unavailable),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
    ] {
        let (address, _) = server(move |_| Reply::Reset(reason)).await;
        assert_eq!(failure(&client(&address)).await, code, "{reason:?}");
    }
}

/// No answer is DEADLINE_EXCEEDED, with the client's deadline and with a call's.
#[tokio::test]
async fn never() {
    let (address, _) = server(|_| Reply::Never).await;
    for milliseconds in [1, 20, 200] {
        let client = client(&address)
            .with_deadline(Duration::from_millis(milliseconds))
            .unwrap();
        assert_eq!(failure(&client).await, Code::DeadlineExceeded);
    }
}

/// A peer that hangs up, or speaks something else, is UNAVAILABLE; one that says nothing is DEADLINE_EXCEEDED.
#[tokio::test]
async fn no_grpc_at_all() {
    let hangs_up = peer(|socket| async move { drop(socket) }).await;
    assert_eq!(failure(&client(&hangs_up)).await, Code::Unavailable);
    let reads_and_hangs_up = peer(|mut socket| async move {
        let _ = socket.read(&mut [0; 1024]).await;
    })
    .await;
    assert_eq!(failure(&client(&reads_and_hangs_up)).await, Code::Unavailable);
    // What a TLS server says to a plaintext client.
    let alert = peer(|mut socket| async move {
        let _ = socket.write_all(b"\x15\x03\x03\x00\x02\x02\x46").await;
    })
    .await;
    assert_eq!(failure(&client(&alert)).await, Code::Unavailable);
    let speaks_http1 = peer(|mut socket| async move {
        let _ = socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await;
    })
    .await;
    assert_eq!(failure(&client(&speaks_http1)).await, Code::Unavailable);
    let silent = peer(|socket| async move {
        let _kept = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let quick = client(&silent).with_deadline(Duration::from_millis(100)).unwrap();
    assert_eq!(failure(&quick).await, Code::DeadlineExceeded);
}

/// Where nobody listens a call is UNAVAILABLE, and says why.
#[tokio::test]
async fn nobody() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let status = client(&address).decide(DecideRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("refused"), "{status}");
}

/// A closed client, and each of its clones, makes no more calls.
#[tokio::test]
async fn closed() {
    let (address, attempts) = server(|_| Reply::Message(allow(), OK)).await;
    let client = client(&address);
    let clone = client.clone();
    client.close();
    assert_eq!(failure(&client).await, Code::Cancelled);
    assert_eq!(failure(&clone).await, Code::Cancelled);
    assert_eq!(attempts.load(Ordering::SeqCst), 0);
}

/// Tasks can share a client.
#[tokio::test]
async fn tasks_share() {
    let (address, _) = server(|_| Reply::Message(allow(), OK)).await;
    let client = client(&address);
    let calls = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.decide(DecideRequest::default()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().unwrap().allowed());
    }
}

/// The key is in nothing that a client or its options print.
#[tokio::test]
async fn key_is_not_printed() {
    let options = Options {
        bearer: Some("secret".to_owned()),
        ..Options::default()
    };
    let client = Client::new("127.0.0.1:1", options.clone()).unwrap();
    let status = client.decide(DecideRequest::default()).await.unwrap_err();
    let texts = format!("{client:?} {client:#?} {options:?} {status:?} {status}");
    assert!(!texts.contains("secret"), "{texts}");
}

/// Outside of a runtime a client is refused, and nothing panics.
#[test]
fn without_a_runtime() {
    assert!(Client::new("127.0.0.1:1", Options::default()).is_err());
}
