//! Asks agentd without end on several connections, and writes a line for each answer the moment it is there: what is
//! written down was promised to be on the ledger.
//!
//! `load SOCKET FILE ROUND CONNECTIONS`; the lines are `recalled MARK` and `stored MARK ID`, and each MARK comes once in
//! all rounds.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use agentos_api::memory::{DEFAULT_CATEGORY, RecallRequest, StoreRequest};
use agentos_client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, file, round, connections] = arguments.as_slice() else {
        eprintln!("usage: load SOCKET FILE ROUND CONNECTIONS");
        return ExitCode::from(2);
    };
    match run(socket, file, round, connections).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    socket: &str,
    file: &str,
    round: &str,
    connections: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let connections: usize = connections.parse()?;
    let answers = Arc::new(OpenOptions::new().write(true).open(file)?);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..connections {
        let mark = format!("mark{round}x{caller}x");
        callers.spawn(call(Client::new(socket), Arc::clone(&answers), mark, caller % 2 == 0));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Asks one question after the other until one is not answered.
async fn call(client: Client, answers: Arc<File>, mark: String, writes: bool) -> Result<(), std::io::Error> {
    for number in 0_u64.. {
        let mark = format!("{mark}{number}");
        let line = if writes {
            let request = StoreRequest {
                summary: mark.clone(),
                detail: String::new(),
                category: DEFAULT_CATEGORY.to_owned(),
                tags: Vec::new(),
            };
            let stored = client.memory_store(&request).await.map_err(std::io::Error::other)?;
            format!("stored {mark} {}\n", stored.id)
        } else {
            client.memory_recall(&RecallRequest::new(mark.clone())).await.map_err(std::io::Error::other)?;
            format!("recalled {mark}\n")
        };
        // One write, so that lines of several callers do not mix.
        (&*answers).write_all(line.as_bytes())?;
    }
    Ok(())
}
