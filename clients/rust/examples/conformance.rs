//! The runner of the conformance cases: commands on standard input, answers on standard output, one JSON object a line.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use pdp_client::tonic::{Code, Status};
use pdp_client::v1::{self, authorize_batch_result::Result as BatchItem};
use pdp_client::{error_info, Client, Options, Tls, SERVICE_CONFIG};
use prost::Message;
use serde_json::{json, Map, Value};

type Failure = Box<dyn Error>;
/// The members of an answer beside its `id`.
type Answer = Map<String, Value>;

fn main() -> Result<(), Failure> {
    // Not the thread that waits for commands but others keep the connections alive.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut clients = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let mut answer = runtime
            .block_on(obey(&command, &mut clients))
            .unwrap_or_else(|failure| {
                eprintln!("failed: {failure}");
                object(json!({"failed": failure.to_string()}))
            });
        answer.insert("id".to_owned(), command["id"].clone());
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", Value::Object(answer))?;
        out.flush()?;
    }
    Ok(())
}

async fn obey(command: &Value, clients: &mut HashMap<String, Client>) -> Result<Answer, Failure> {
    let name = || text(command, "client");
    match text(command, "do")? {
        "describe" => {
            let config: Value = serde_json::from_str(SERVICE_CONFIG)?;
            Ok(object(json!({"language": "rust", "service_config": config})))
        }
        "open" => match open(text(command, "target")?, &command["options"]) {
            Ok(client) => {
                clients.insert(name()?.to_owned(), client);
                Ok(object(json!({"opened": true})))
            }
            Err(refusal) => Ok(object(json!({"refused": refusal.to_string()}))),
        },
        "call" => {
            let client = clients.get(name()?).ok_or("no such client")?;
            let client = match &command["deadline_ms"] {
                Value::Null => client.clone(),
                deadline => client.with_deadline(milliseconds(deadline)?)?,
            };
            call(
                &client,
                text(command, "method")?,
                &STANDARD.decode(text(command, "request")?)?,
            )
            .await
        }
        "close" => {
            clients.remove(name()?).ok_or("no such client")?.close();
            Ok(object(json!({"closed": true})))
        }
        other => Err(format!("unknown command `{other}`").into()),
    }
}

fn open(target: &str, given: &Value) -> Result<Client, Failure> {
    let mut options = Options::default();
    if !given["deadline_ms"].is_null() {
        options.deadline = milliseconds(&given["deadline_ms"])?;
    }
    if !given["max_receive_bytes"].is_null() {
        let bytes = given["max_receive_bytes"]
            .as_u64()
            .ok_or("`max_receive_bytes` is no number of bytes")?;
        options.max_receive_bytes = bytes.try_into()?;
    }
    options.bearer = given["bearer"].as_str().map(str::to_owned);
    if let Some(tls) = given["tls"].as_object() {
        let file = |name: &str| tls.get(name).and_then(Value::as_str).map(std::fs::read).transpose();
        options.tls = Some(Tls {
            ca: file("ca")?,
            certificate: file("certificate")?,
            key: file("key")?,
            server_name: tls.get("server_name").and_then(Value::as_str).map(str::to_owned),
        });
    }
    Ok(Client::new(target, options)?)
}

async fn call(client: &Client, method: &str, request: &[u8]) -> Result<Answer, Failure> {
    let answered = match method {
        "Authorize" => client.authorize(Message::decode(request)?).await.map(|response| {
            let denial = response.denial.as_ref().map(denial_code);
            answer(&response, Some(response.allowed().into()), denial)
        }),
        "AuthorizeBatch" => client.authorize_batch(Message::decode(request)?).await.map(|response| {
            let allowed = response.results.iter().map(|item| match &item.result {
                Some(BatchItem::Response(response)) => response.allowed().into(),
                Some(BatchItem::Error(_)) => Value::Null,
                None => false.into(),
            });
            answer(&response, Some(allowed.collect()), None)
        }),
        "Intercept" => client.intercept(Message::decode(request)?).await.map(|response| {
            let denial = response.denial.as_ref().map(denial_code);
            answer(&response, Some(response.allowed().into()), denial)
        }),
        "Decide" => client.decide(Message::decode(request)?).await.map(|response| {
            let denial = response.denial.as_ref().map(denial_code);
            answer(&response, Some(response.allowed().into()), denial)
        }),
        "FilterTools" => client
            .filter_tools(Message::decode(request)?)
            .await
            .map(|response| answer(&response, None, None)),
        other => return Err(format!("unknown method `{other}`").into()),
    };
    Ok(answered.unwrap_or_else(|status| error(&status)))
}

fn answer(response: &impl Message, allowed: Option<Value>, denial: Option<Value>) -> Answer {
    let mut answer = object(json!({"response": STANDARD.encode(response.encode_to_vec())}));
    answer.extend(allowed.map(|allowed| ("allowed".to_owned(), allowed)));
    answer.extend(denial.map(|denial| ("denial".to_owned(), denial)));
    answer
}

/// The code's name, or its number where this client does not know it.
fn denial_code(denial: &v1::Denial) -> Value {
    match v1::DenialCode::try_from(denial.code) {
        Ok(code) => code.as_str_name().into(),
        Err(_) => denial.code.into(),
    }
}

fn error(status: &Status) -> Answer {
    let mut error = object(json!({"code": code_name(status.code()), "message": status.message()}));
    if let Some(info) = error_info(status) {
        error.insert("reason".to_owned(), info.reason.into());
        error.insert("field".to_owned(), info.field.into());
    }
    object(json!({"error": error}))
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn text<'a>(command: &'a Value, member: &str) -> Result<&'a str, Failure> {
    command[member]
        .as_str()
        .ok_or_else(|| format!("`{member}` is no string").into())
}

fn milliseconds(value: &Value) -> Result<Duration, Failure> {
    let milliseconds = value.as_f64().ok_or("a deadline is no number")?;
    Ok(Duration::try_from_secs_f64(milliseconds / 1000.0)?)
}

fn object(value: Value) -> Answer {
    match value {
        Value::Object(members) => members,
        other => unreachable!("no object: {other}"),
    }
}
