//! The turns of the end-to-end test: what is said, which tools that calls, what the answer has to hold, and what has to
//! be on the ledger afterwards. Together they call every tool that the plugin registers.

use std::path::Path;

use super::machine::{LOGGED, Machine};

/// A file about which the policy that ships asks.
const KEPT: &str = "/etc/sudoers";

/// One turn.
pub(crate) struct Case {
    /// What the person does before, with agentctl on the operator's socket.
    pub(crate) person: &'static [&'static str],
    /// What the person says.
    pub(crate) say: String,
    /// The tools that the scripted model calls for it.
    pub(crate) tools: &'static [&'static str],
    /// What the answer holds.
    pub(crate) holds: Vec<String>,
    /// What the ledger holds for it, in this order: an event type, and a piece of its payload.
    pub(crate) records: Vec<(&'static str, String)>,
}

/// All turns, in the order in which they are taken. `newest` is the id of the newest event before the first of them.
pub(crate) fn cases(machine: &Machine, newest: u64) -> Vec<Case> {
    let mut cases = of_the_machine(machine, newest);
    cases.extend(of_memory_and_services(machine));
    cases.extend(of_changes(machine));
    cases.extend(of_previews(machine));
    cases.extend(of_questions());
    cases
}

/// An event of the question `name`.
fn query(name: &str) -> (&'static str, String) {
    ("system.query", format!("\"query\":\"{name}\""))
}

fn of_the_machine(machine: &Machine, newest: u64) -> Vec<Case> {
    let word = &machine.word;
    vec![
        Case {
            // First, since it asks what was recorded before.
            person: &[],
            say: "What did you do today?".to_owned(),
            tools: &["event_log"],
            holds: vec![format!("#{newest} "), "agentd.start".to_owned()],
            records: Vec::new(),
        },
        Case {
            person: &[],
            say: "Is everything all right?".to_owned(),
            tools: &["system_health", "system_query"],
            holds: vec![machine.hostname.clone(), "Ledger: ".to_owned(), "it can be written".to_owned()],
            records: vec![query("failed_units"), query("pressure")],
        },
        Case {
            person: &[],
            say: "What system is this?".to_owned(),
            tools: &["system_query"],
            holds: vec![machine.hostname.clone(), machine.kernel.clone()],
            records: vec![query("os"), query("packages")],
        },
        Case {
            person: &[],
            say: "What is eating the memory?".to_owned(),
            tools: &["system_query"],
            holds: vec![machine.memory.clone(), "pid ".to_owned()],
            records: vec![query("memory"), query("processes"), query("process")],
        },
        Case {
            person: &[],
            say: format!("What is in {}?", machine.folder.display()),
            tools: &["directory_list"],
            holds: vec![format!("{word}.txt")],
            records: vec![query("directory")],
        },
        Case {
            person: &[],
            say: format!("Read the file {}", machine.file().display()),
            tools: &["file_read"],
            holds: vec![machine.reversed()],
            records: vec![query("file")],
        },
        Case {
            // What the policy keeps is told with its rule and with what the person can do, and is on the record.
            person: &[],
            say: "Read /etc/shadow".to_owned(),
            tools: &["file_read"],
            holds: vec![
                "policy_denied".to_owned(),
                "password-files".to_owned(),
                "agentctl query file".to_owned(),
                "/etc/shadow".to_owned(),
            ],
            records: vec![("policy.denied", "password-files".to_owned())],
        },
        Case {
            // A secret in a file that may be read does not reach the model, and the model knows that something is gone.
            person: &[],
            say: format!("Read the file {}", machine.secret_file().display()),
            tools: &["file_read"],
            holds: vec!["db_password = [masked: password]".to_owned(), machine.reversed()],
            records: vec![query("file")],
        },
    ]
}

fn of_memory_and_services(machine: &Machine) -> Vec<Case> {
    let systemd =
        |fact: &str| if machine.systemd { fact.to_owned() } else { "systemd_unavailable".to_owned() };
    let word = &machine.word;
    vec![
        Case {
            person: &[],
            say: format!("Remember that the {word} is fed at seven"),
            tools: &["memory_store"],
            holds: vec![format!("the {word} is fed at seven"), "under the id".to_owned()],
            // The words themselves are in the memory's file; the ledger holds what commits to them.
            records: vec![("memory.store", "\"category\":\"note\"".to_owned())],
        },
        Case {
            person: &[],
            say: format!("What did I tell you about the {word}?"),
            tools: &["memory_recall"],
            holds: vec!["is fed at seven".to_owned(), ".md".to_owned()],
            records: vec![("memory.recall", word.clone())],
        },
        Case {
            person: &[],
            say: "What is my IP address?".to_owned(),
            tools: &["network_info"],
            holds: machine.interfaces.iter().map(|name| format!("- {name} (")).collect(),
            records: vec![query("network")],
        },
        Case {
            person: &[],
            say: format!("What is the status of {LOGGED}?"),
            tools: &["service_status"],
            holds: vec!["systemd-journald".to_owned(), systemd("is active (running)")],
            records: vec![query("service")],
        },
        Case {
            person: &[],
            say: format!("Show me the last log lines of {LOGGED}"),
            tools: &["journal_logs"],
            holds: vec![machine.journal.clone()],
            records: vec![query("journal")],
        },
        Case {
            // Its file is not made, and the model is told why not.
            person: &[],
            say: "Run hostname; touch /observed, changing nothing".to_owned(),
            tools: &["shell_exec"],
            holds: vec![
                machine.hostname.clone(),
                "write /observed: nothing is made while observing".to_owned(),
            ],
            records: vec![query("shell")],
        },
        Case {
            // An error of agentd reaches the model with its code and the argument at fault.
            person: &[],
            say: "Ask for a billion processes".to_owned(),
            tools: &["system_query"],
            holds: vec!["invalid_argument".to_owned(), "limit".to_owned()],
            records: Vec::new(),
        },
    ]
}

/// What the person asks to be changed, and decides on: one change that waits and is approved, one that is denied, and one
/// that is taken back.
fn of_changes(machine: &Machine) -> Vec<Case> {
    let (word, note) = (&machine.word, machine.note());
    vec![
        Case {
            person: &[],
            say: format!("Write {word} to {}", note.display()),
            tools: &["file_write"],
            holds: waits(1),
            records: asked(),
        },
        Case {
            person: &[],
            say: "What is waiting for my yes?".to_owned(),
            tools: &["approvals_list"],
            holds: vec!["1 change waits".to_owned(), note.display().to_string()],
            records: Vec::new(),
        },
        Case {
            person: &["approvals", "approve", "1"],
            say: "What became of change 1?".to_owned(),
            tools: &["change_status"],
            holds: vec!["Change 1 is applied".to_owned(), "Decided by operator:".to_owned()],
            records: Vec::new(),
        },
        Case {
            person: &[],
            say: format!("Read the file {}", note.display()),
            tools: &["file_read"],
            holds: vec![word.clone()],
            records: vec![("system.query", "\"query\":\"file\"".to_owned())],
        },
        Case {
            person: &[],
            say: format!("Make the folder {}", machine.refused_folder().display()),
            tools: &["system_mutate"],
            holds: waits(2),
            records: asked(),
        },
        Case {
            person: &["approvals", "deny", "2", "--reason", "not this week"],
            say: "What became of change 2?".to_owned(),
            tools: &["change_status"],
            holds: vec!["Change 2 is denied".to_owned(), "not this week".to_owned()],
            records: Vec::new(),
        },
        Case {
            person: &[],
            say: "Undo change 1".to_owned(),
            tools: &["change_undo"],
            holds: waits(3),
            records: asked(),
        },
        Case {
            person: &["approvals", "approve", "3"],
            say: "What became of change 1?".to_owned(),
            tools: &["change_status"],
            holds: vec!["Change 1 is undone".to_owned(), "Change 3 took it back".to_owned()],
            records: Vec::new(),
        },
    ]
}

/// What the person is told of a change that waits.
fn waits(number: u64) -> Vec<String> {
    vec![
        "waits for your yes; nothing is changed yet".to_owned(),
        format!("agentctl approvals approve {number}"),
    ]
}

/// What is on the record of it then.
fn asked() -> Vec<(&'static str, String)> {
    vec![
        ("change.requested", "\"reason\":\"You asked me".to_owned()),
        ("change.planned", String::new()),
        ("change.waiting", String::new()),
    ]
}

/// What a command would do, seen first: one that is approved and taken back, one that is denied.
fn of_previews(machine: &Machine) -> Vec<Case> {
    let word = &machine.word;
    vec![
        Case {
            person: &[],
            say: format!("Preview mkdir {0} && echo {word} >{0}/note", machine.previewed_folder().display()),
            tools: &["shell_exec"],
            holds: [waits(4), vec!["makes 2 files and folders".to_owned()]].concat(),
            records: asked(),
        },
        Case {
            person: &["approvals", "approve", "4"],
            say: format!("Read the file {}/note", machine.previewed_folder().display()),
            tools: &["file_read"],
            holds: vec![word.clone()],
            records: vec![("system.query", "\"query\":\"file\"".to_owned())],
        },
        Case {
            // A variable that is not set: nothing is there to be deleted, or more than was meant.
            person: &[],
            say: format!("Preview rm -rf {}/$NOTHING", machine.previewed_folder().display()),
            tools: &["shell_exec"],
            holds: [waits(5), vec!["deletes 2 files and folders".to_owned()]].concat(),
            records: asked(),
        },
        Case {
            person: &["approvals", "deny", "5", "--reason", "too much"],
            say: "Undo change 4".to_owned(),
            tools: &["change_undo"],
            holds: waits(6),
            records: asked(),
        },
        Case {
            person: &["approvals", "approve", "6"],
            say: "What became of change 4?".to_owned(),
            tools: &["change_status"],
            holds: vec!["Change 4 is undone".to_owned()],
            records: Vec::new(),
        },
    ]
}

/// A file that a rule asks about: read once the person allows it.
fn of_questions() -> Vec<Case> {
    vec![
        Case {
            person: &[],
            say: format!("Read the file {KEPT}"),
            tools: &["file_read"],
            holds: vec!["approval_required".to_owned(), "agentctl approvals approve 7".to_owned()],
            records: vec![("question.waiting", KEPT.to_owned())],
        },
        Case {
            person: &["approvals", "approve", "7"],
            say: format!("Read the file {KEPT}"),
            tools: &["file_read"],
            holds: if Path::new(KEPT).exists() { Vec::new() } else { vec!["not_found".to_owned()] },
            records: vec![
                ("question.used", "\"question\":7".to_owned()),
                ("system.query", "\"approval\":7".to_owned()),
            ],
        },
    ]
}
