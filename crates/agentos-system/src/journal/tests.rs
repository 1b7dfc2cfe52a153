use proptest::prelude::*;

use super::*;

fn request(json: &str) -> Result<Request, QueryError> {
    Request::new(&serde_json::from_str(json).unwrap())
}

fn field_at_fault(json: &str) -> String {
    match request(json).unwrap_err() {
        QueryError::InvalidArgument { field, .. } => field,
        other => panic!("{json}: {other}"),
    }
}

fn raw(message: &[u8], truncated: bool) -> Raw {
    Raw { message: Some(message.to_vec()), truncated, cursor: b"s=1".to_vec(), ..Raw::default() }
}

#[test]
fn each_wrong_argument_is_named() {
    for (json, field) in [
        (r#"{"unit":"--help"}"#, "unit"),
        (r#"{"unit":"a b"}"#, "unit"),
        (r#"{"since":"yesterday"}"#, "since"),
        (r#"{"until":"-"}"#, "until"),
        (r#"{"grep":""}"#, "grep"),
        (r#"{"grep":"a\u0000b"}"#, "grep"),
        (r#"{"boot":"all; reboot"}"#, "boot"),
        (r#"{"boot":"--1"}"#, "boot"),
        (r#"{"identifier":"a\nb"}"#, "identifier"),
        (r#"{"after_cursor":"s=1 --help"}"#, "after_cursor"),
        (r#"{"before_cursor":""}"#, "before_cursor"),
        (r#"{"after_cursor":"s=1","before_cursor":"s=2"}"#, "before_cursor"),
    ] {
        assert_eq!(field_at_fault(json), field, "{json}");
    }
}

#[test]
fn the_right_ones_are_taken() {
    for json in [
        "{}",
        r#"{"unit":"nginx","priority":"warn","since":"-2h","until":"now","grep":"(?i)--help","boot":"-1","limit":1000}"#,
        r#"{"boot":"0123456789ABCDEF0123456789abcdef"}"#,
        r#"{"boot":"01234567-89ab-cdef-0123-456789abcdef"}"#,
        r#"{"after_cursor":"s=ab;i=1;b=2;m=3;t=4;x=5"}"#,
    ] {
        request(json).unwrap();
    }
}

#[test]
fn a_cursor_and_the_bounds_of_time_go_together() {
    let request =
        request(r#"{"before_cursor":"s=1","since":"1970-01-01T00:00:10Z","until":"1970-01-01T00:00:20Z"}"#)
            .unwrap();
    assert!(matches!(request.place(15_000_000), Place::Within));
    assert!(matches!(request.place(25_000_000), Place::NotYet));
    assert!(matches!(request.place(5_000_000), Place::Beyond));
}

#[test]
fn a_message_keeps_its_bytes_or_says_that_it_did_not() {
    assert_eq!(entry(raw("grüße".as_bytes(), false), 1).message, "grüße");
    assert!(entry(raw(b"a\xffb", false), 1).lossy);
    // The cut went through ü: that is not a fault of the message.
    let cut = entry(raw(b"gr\xc3", true), 1);
    assert_eq!((cut.message.as_str(), cut.lossy, cut.truncated), ("gr", false, true));
}

#[test]
fn the_answer_ends_at_its_limit_and_says_that_there_is_more() {
    let mut reader = Reader::new(10);
    for number in 1..=5 {
        reader.push(format!("__CURSOR=s={number}\n__REALTIME_TIMESTAMP={number}\nMESSAGE=m\n\n").as_bytes());
    }
    let request = request(r#"{"limit":3}"#).unwrap();
    let mut page = Page { entries: Vec::new(), bytes: 0, more: false, stopped_by: None };
    assert!(page.take_all(&mut reader, &request).is_break());
    assert_eq!((page.entries.len(), page.more), (3, true));
}

#[test]
fn the_answer_ends_at_its_size() {
    let mut reader = Reader::new(65_536);
    for number in 1..=40 {
        let message = "x".repeat(65_536);
        reader.push(
            format!("__CURSOR=s={number}\n__REALTIME_TIMESTAMP={number}\nMESSAGE={message}\n\n").as_bytes(),
        );
    }
    let request = request(r#"{"limit":1000,"message_bytes":65536}"#).unwrap();
    let mut page = Page { entries: Vec::new(), bytes: 0, more: false, stopped_by: None };
    assert!(page.take_all(&mut reader, &request).is_break());
    assert_eq!(page.stopped_by, Some(StoppedBy::Bytes));
    assert!(page.entries.iter().map(|entry| entry.message.len()).sum::<usize>() <= MAX_ANSWER_BYTES);
}

#[test]
fn a_machine_without_a_journal_says_so() {
    let machine = Machine::new(crate::MachineOptions::default());
    for args in ["{}", r#"{"unit":"nobody-installed-this"}"#, r#"{"grep":"x{40}y"}"#] {
        match machine.query("journal", args.as_bytes(), Viewer::default()) {
            Ok(_) => assert!(is_stored(), "{args}: an empty answer would say that nothing happened"),
            Err(QueryError::Unavailable { code, .. }) => {
                assert!(!is_stored() || Program::find("journalctl").is_none(), "{args}");
                assert_eq!(code, "journal_unavailable");
            }
            Err(error) => panic!("{args}: {error}"),
        }
    }
}

proptest! {
    #[test]
    fn no_value_from_outside_becomes_an_option(
        unit in "\\PC{0,20}", boot in "\\PC{0,20}", cursor in "\\PC{0,20}", identifier in "\\PC{0,20}", grep in "\\PC{0,20}",
    ) {
        let json = serde_json::json!({
            "unit": unit, "boot": boot, "after_cursor": cursor, "identifier": identifier, "grep": grep,
        });
        if let Ok(request) = request(&json.to_string())
            && let Ok(program) = request.program()
        {
            let shown = format!("{program:?}");
            prop_assert!(!shown.contains("\"--help\""));
        }
    }

    #[test]
    fn any_entry_is_read_without_panic(message: Vec<u8>, priority: Vec<u8>, pid: Vec<u8>, truncated: bool, micros: u64) {
        let entry = entry(Raw { priority, pid, ..raw(&message, truncated) }, micros);
        prop_assert!(entry.priority.is_none_or(|priority| priority < 8));
    }
}
