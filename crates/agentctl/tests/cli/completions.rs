use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Run, agentctl};

#[test]
fn each_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = Run::of(agentctl().args(["completions", shell])).with(0);
        for name in ["verify-ledger", "chat"] {
            assert!(run.stdout.contains(name), "{shell} does not complete {name}");
        }
        // The generators for the others do not complete what is no option.
        if ["bash", "zsh"].contains(&shell) {
            assert!(run.stdout.contains("failed_units"), "{shell} does not complete the names of queries");
        }
    }
    Run::of(agentctl().args(["completions", "no-such-shell"])).with(2);
}

#[test]
fn bash_takes_its_script() {
    let script = Run::of(agentctl().args(["completions", "bash"])).with(0).stdout;
    let mut bash = Command::new("bash").args(["--norc", "-n"]).stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}
