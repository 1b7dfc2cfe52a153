use std::fs;
use std::os::unix::fs::symlink;

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::support::{Run, agentctl};

/// A directory with a policy in it.
fn with(policy: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("policy.toml"), policy).unwrap();
    directory
}

fn run(directory: &TempDir, arguments: &[&str]) -> Run {
    Run::of(agentctl().current_dir(directory.path()).arg("policy").args(arguments))
}

const POLICY: &str = "\
[[rule]]
name = \"notes\"
principal = \"agent\"
path = \"/srv/notes/**\"
then = \"allow\"
mask = false

[[rule]]
path = [\"/srv/**\", \"/opt/**\"]
then = \"deny\"
reason = \"It is the firm's.\"

[[rule]]
path = \"/opt/x\"
then = \"ask\"
";

#[test]
fn a_good_policy_is_called_good_and_what_never_decides_is_named() {
    let directory = with(POLICY);
    assert_snapshot!(run(&directory, &["check", "policy.toml"]).with(0).stdout, @r#"
    good  policy.toml: 3 rules
    look  rule 1 "notes" (line 1) allows reading alone: a rule allows changes only by mutation or risk. Give it query ("*" for all) if that is what it is for
    look  rule 3 (line 13) can never decide: rule 2 (line 8) takes all of it before
    "#);
    let json = run(&directory, &["check", "policy.toml", "--json"]).with(0).json();
    assert_eq!((&json["valid"], &json["rules"]), (&true.into(), &3.into()));
    assert_eq!(json["warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_policy_is_shown_where_it_is_wrong() {
    let directory = with("# mine\n[[rule]]\nthen = \"deny\"\npth = \"/srv\"\n");
    assert_snapshot!(run(&directory, &["check", "policy.toml"]).with(1).stdout, @r#"
    wrong  policy.toml, line 4, column 1: there is no key "pth" here; did you mean path?
           pth = "/srv"
    "#);
    let json = run(&directory, &["check", "policy.toml", "--json"]).with(1).json();
    assert_eq!((&json["valid"], &json["error"]["line"]), (&false.into(), &4.into()));
    let explained = run(&directory, &["explain", "os", "--file", "policy.toml"]).with(1);
    assert!(explained.stderr.contains("line 4, column 1"), "{}", explained.stderr);
    let missing = run(&directory, &["check", "no-such.toml"]).with(5);
    assert!(missing.stderr.contains("no-such.toml"), "{}", missing.stderr);
}

#[test]
fn the_rule_that_decides_is_explained() {
    let directory = with(POLICY);
    let explain =
        |arguments: &[&str]| run(&directory, &[&["explain", "--file", "policy.toml"], arguments].concat());
    assert_snapshot!(explain(&["file", "path=/opt//a/./b"]).with(0).stdout, @r"
    decision   deny: it is refused
    rule       rule 2 (line 8)
    reason     It is the firm's.
    policy     policy.toml
    looked at  /opt/a/b
    ");
    assert_snapshot!(explain(&["file", "path=/srv/notes/a"]).with(0).stdout, @r#"
    decision   allow: it is answered as it is
    rule       rule 1 "notes" (line 1)
    policy     policy.toml
    looked at  /srv/notes/a
    "#);
    assert_snapshot!(explain(&["os"]).with(0).stdout, @r"
    decision  allow: it is answered, with secrets masked
    rule      none; what no rule names is allowed
    policy    policy.toml
    ");
    let json = explain(&["file", "path=/srv/notes/a", "--path", "/srv/other", "--json"]).with(0).json();
    assert_eq!((&json["decision"], &json["rule"]["line"]), (&"deny".into(), &8.into()), "by the other name");
    let json = explain(&["file", "path=/proc/1/environ", "--json"]).with(0).json();
    assert_eq!((&json["decision"], &json["rule"]["origin"]), (&"deny".into(), &"built_in".into()));
    let json = explain(&["file", "path=/srv/x", "--principal", "operator:anna", "--json"]).with(0).json();
    assert_eq!((&json["decision"], &json["masked"]), (&"deny".into(), &false.into()));
}

#[test]
fn a_link_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap();
    fs::write(path.join("kept"), "").unwrap();
    symlink("kept", path.join("link")).unwrap();
    fs::write(
        path.join("policy.toml"),
        format!("[[rule]]\npath = \"{}/kept\"\nthen = \"deny\"\n", path.display()),
    )
    .unwrap();
    let asked = format!("path={}/link", path.display());
    let json =
        run(&directory, &["explain", "file", &asked, "--file", "policy.toml", "--json"]).with(0).json();
    assert_eq!(json["decision"], "deny");
}

#[test]
fn what_cannot_be_asked_is_a_wrong_command_line() {
    let directory = with(POLICY);
    let run =
        |arguments: &[&str]| run(&directory, &[&["explain", "--file", "policy.toml"], arguments].concat());
    let unknown = run(&["fiel"]).with(2).stderr;
    assert!(
        unknown.starts_with("Error: there is no query and no mutation \"fiel\"\nClose to it: file"),
        "{unknown}"
    );
    run(&["file", "--principal", "root"]).with(2);
    run(&["file", "--path", "relative"]).with(2);
}

#[test]
fn without_a_file_the_rules_that_ship_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let json = run(&directory, &["explain", "file", "path=/etc/shadow", "--json"]).with(0).json();
    assert_eq!(json["decision"], "deny", "{json}");
}

#[test]
fn what_is_said_of_a_change_names_its_risk_and_who_may_say_yes() {
    let directory = with(
        "[[rule]]\nname = \"log-in\"\nmutation = \"file.*\"\npath = \"/srv/pam/**\"\nthen = \"ask\"\noperator_only = true\n\
         [[rule]]\nrisk = [\"low\", \"medium\"]\nthen = \"allow\"\n",
    );
    let explain = |more: &[&str]| {
        let mut arguments = vec!["explain", "--file", "policy.toml"];
        arguments.extend(more);
        run(&directory, &arguments)
    };
    assert_snapshot!(explain(&["file.copy", "path=/srv/a", "to=/srv/pam/b", "--risk", "medium"]).with(0).stdout, @r#"
    decision   ask: it waits for a yes on the operator's own socket; one in a chat does not count
    rule       rule 1 "log-in" (line 1)
    risk       medium
    policy     policy.toml
    looked at  /srv/a, /srv/pam/b
    "#);
    assert_snapshot!(explain(&["file.write", "path=/srv/a", "--risk", "destructive"]).with(0).stdout, @r"
    decision   ask: it waits for a person's yes
    rule       none; a change that no rule names is asked about
    risk       destructive
    policy     policy.toml
    looked at  /srv/a
    ");
    let json = explain(&["file.write", "path=/srv/a", "--json"]).with(0).json();
    assert_eq!(
        (&json["mutation"], &json["risk"], &json["decision"]),
        (&"file.write".into(), &"low".into(), &"allow".into())
    );
    let said = explain(&["file.wirte", "path=/srv/a"]).with(2).stderr;
    assert!(said.contains("file.write"), "{said}");
    let said = explain(&["os", "--risk", "low"]).with(2).stderr;
    assert!(said.contains("changes nothing"), "{said}");
}
