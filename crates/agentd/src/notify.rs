//! What systemd is told (`sd_notify(3)`), and with it whoever runs `systemctl status agentd`.

use agentos_ledger::Status;
use sd_notify::NotifyState;

/// The longest status that is sent, in characters: it is one line in a terminal, the reason in full is in the log.
const MAX_STATUS: usize = 240;

/// Tells systemd; where nobody listens, this does nothing.
pub(crate) fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// agentd is ready, and how it is.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// How agentd is.
pub(crate) fn status(status: &str) {
    notify(&[NotifyState::Status(&one_line(status))]);
}

/// A reload has begun. The time lets systemd tell it from one that it did not ask for (`Type=notify-reload`).
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// How a ledger that is open is, in a sentence.
pub(crate) fn of_open(ledger: &Status) -> String {
    match &ledger.unavailable {
        None if ledger.size == 1 => "1 event; asking allowed".to_owned(),
        None => format!("{} events; asking allowed", ledger.size),
        Some(trouble) => {
            format!("nothing is read or changed until the ledger can be written: {}", trouble.reason)
        }
    }
}

/// A line break would end the variable and begin another.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(MAX_STATUS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_short_line_whatever_the_reason_holds() {
        assert_eq!(one_line("a\nREADY=1\u{1b}[0m"), "a READY=1 [0m");
        let long = one_line(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), MAX_STATUS + 1);
    }
}
