use super::*;
use proptest::prelude::*;

const SCENARIO: &str = r#"
ask = ["What is eating the memory?"]
say = "{{ rows/total }} {{ errors/top/code }}"

[[match]]
words = [["memory"]]

[[step]]
[[step.call]]
name = "rows"
tool = "system_query"
arguments = { query = "processes", args = { limit = 5 } }

[[step]]
[[step.call]]
name = "top"
tool = "system_query"
optional = true
arguments = { query = "process", args = { pid = "{{ rows/processes/0/pid }}", unset = "{{ rows/nothing }}" } }
"#;

fn refusal(text: &str) -> (usize, String) {
    match Scenario::parse("scenarios/x.toml", text) {
        Err(ScenarioError::Invalid { line, reason, .. }) => (line, reason),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_scenario_is_read() {
    let scenario = Scenario::parse("scenarios/memory.toml", SCENARIO).unwrap();
    assert_eq!(scenario.name, "memory");
    assert_eq!(scenario.calls().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["rows", "top"]);
}

#[test]
fn an_argument_keeps_the_type_of_what_it_reads_and_is_left_out_when_there_is_nothing() {
    let scenario = Scenario::parse("memory.toml", SCENARIO).unwrap();
    let mut scope = Scope::new();
    scope.set("rows", serde_json::json!({ "processes": [{ "pid": 42 }] }));
    let arguments = scenario.calls().nth(1).unwrap().arguments.value(&scope);
    assert_eq!(arguments, serde_json::json!({ "query": "process", "args": { "pid": 42 } }));
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let (line, reason) = refusal(&SCENARIO.replace("optional = true", "optionel = true"));
    assert_eq!(line, 18);
    assert!(reason.contains("optionel"), "{reason}");
    let (line, _) = refusal(&format!("title = \"x\"{SCENARIO}"));
    assert_eq!(line, 1);
}

#[test]
fn a_template_that_is_not_well_formed_is_refused_with_its_line() {
    let (line, reason) = refusal(&SCENARIO.replace("code }}", "code"));
    assert_eq!(line, 3);
    assert!(reason.contains("not closed"), "{reason}");
}

#[test]
fn a_name_that_nothing_gives_is_refused() {
    let (line, reason) = refusal(&SCENARIO.replace("rows/total", "row/total"));
    assert_eq!((line, reason.as_str()), (3, "nothing before this point is named `row`"));
    let (_, reason) = refusal(&SCENARIO.replace("rows/processes/0/pid", "top/pid"));
    assert!(reason.contains("`top`"), "a call cannot read its own result: {reason}");
}

#[test]
fn a_sentence_that_no_match_finds_is_refused() {
    let (_, reason) = refusal(&SCENARIO.replace("the memory?", "the RAM?"));
    assert!(reason.contains("the RAM?"), "{reason}");
}

#[test]
fn two_calls_of_one_name_are_refused() {
    let (line, reason) = refusal(&SCENARIO.replace("name = \"top\"", "name = \"rows\""));
    assert_eq!(line, 16);
    assert!(reason.contains("already"), "{reason}");
}

proptest! {
    #[test]
    fn no_file_panics(text in "(?s).{0,300}") {
        let _ = Scenario::parse("x.toml", &text);
    }

    #[test]
    fn a_scenario_with_a_piece_replaced_never_panics(start in 0..SCENARIO.len(), piece in "(?s).{0,8}") {
        let mut text = SCENARIO.to_owned();
        let start = text.floor_char_boundary(start);
        text.insert_str(start, &piece);
        let _ = Scenario::parse("x.toml", &text);
    }
}
