//! Asks whether an agent may call a tool; `make run` serves the bundle that answers.

use pdp_client::v1::{DecideRequest, Subject, ToolCall};
use pdp_client::{Client, Options};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new("127.0.0.1:7437", Options::default())?;
    let arguments = json!({"path": "/srv/web/../../etc/passwd", "content": "x"});
    let request = DecideRequest {
        subject: Some(Subject::entity("Agent", "coder")),
        tool_call: Some(ToolCall::new("filesystem", "write_file", arguments)),
        ..Default::default()
    };
    let response = client.decide(request).await?;
    if response.allowed() {
        println!("call it with {}", String::from_utf8_lossy(&response.arguments_json));
    } else if let Some(denial) = response.denial {
        println!("{}: {}", denial.code().as_str_name(), denial.message);
    }
    Ok(())
}
