use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope() -> Scope {
    let mut scope = Scope::new();
    scope.set(
        "p",
        json!({
            "rows": [
                { "name": "a", "bytes": 1_073_741_824_u64, "cpu": 1.5, "ok": true },
                { "name": "b", "bytes": 2_147_483_648_u64, "cpu": 0.25, "ok": false },
                { "name": "c", "bytes": 512, "cpu": 1.5, "ok": true },
            ],
            "total": 4_294_967_296_u64, "none": null, "empty": [], "names": ["x", "y"], "a/b": { "m~n": 1 },
            "log": "one\ntwo\nthree", "evil": "a\u{1b}[2Jb",
        }),
    );
    scope
}

fn render(text: &str) -> String {
    Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).render(&scope())
}

#[test]
fn values_are_shown_with_their_filters() {
    for (template, expected) in [
        ("{{ p/rows | count }} rows", "3 rows"),
        ("{{ p/rows/1/bytes | bytes }}", "2.0 GiB"),
        ("{{ p/rows/2/bytes | bytes }}", "512 B"),
        ("{{ p/rows/1/bytes | gib }}", "2.0 GiB"),
        ("{{ 1048575 | bytes }}", "1.0 MiB"),
        ("{{ p/rows | max_by(/bytes) | at(/name) }}", "b"),
        ("{{ p/rows | max_by(/cpu) | at(/name) }}", "a"),
        ("{{ p/rows | min_by(/cpu) | at(/name) }}", "b"),
        ("{{ p/rows | first | at(/name) }}{{ p/rows | last | at(/name) }}", "ac"),
        ("{{ p/rows | sum(/bytes) | bytes }}", "3.0 GiB"),
        (
            "{{ p/rows | where(/ok, true) | count }} and {{ p/rows | where_not(/ok, true) | count }}",
            "2 and 1",
        ),
        ("{{ p/rows/1/bytes | percent_of(p/total) | percent }}", "50.0 %"),
        ("{{ p/rows/1/cpu | round(1) }}", "0.2"),
        ("{{ 59 | duration }}, {{ 3700 | duration }}, {{ 90000 | duration }}", "59 s, 1 h 1 min, 1 d 1 h"),
        ("{{ 1 | plural(\"unit\", \"units\") }} {{ 2 | plural(\"unit\", \"units\") }}", "unit units"),
        ("{{ p/empty | choose(\"some\", \"none\") }}", "none"),
        ("{{ p/log | lines(2) }}", "one\ntwo\n… and 1 more lines"),
        ("{{ p/log | clip(5) }}", "one t…"),
        ("{{ p/names }} {{ p/names | join(\" | \") }}", "x, y x | y"),
        ("{{ \"12\" | number | plural(\"unit\", \"units\") }} {{ \"-1\" | number }}", "units unknown"),
        ("{{ p/none | default(\"nobody\") }}", "nobody"),
        ("{{ p/a~1b/m~0n }}", "1"),
        ("{{ p/rows/0/ok }}", "yes"),
    ] {
        assert_eq!(render(template), expected, "{template}");
    }
}

#[test]
fn what_is_not_there_or_of_another_type_is_unknown() {
    for template in [
        "{{ p/nothing }}",
        "{{ p/none }}",
        "{{ p/log | bytes }}",
        "{{ p/total | percent_of(p/none) }}",
        "{{ p/total | first }}",
    ] {
        assert_eq!(render(template), "unknown", "{template}");
    }
    assert_eq!(render("{% for x in p/total %}never{% end %}"), "");
}

#[test]
fn branches_follow_their_conditions() {
    let template = |condition: &str| format!("{{% if {condition} %}}yes{{% else %}}no{{% end %}}");
    for (condition, expected) in [
        ("p/rows", "yes"),
        ("not p/rows", "no"),
        ("p/empty", "no"),
        ("p/missing", "no"),
        ("p/rows | count > 2", "yes"),
        ("p/rows | count >= 4", "no"),
        ("p/rows/0/name == \"a\"", "yes"),
        ("p/rows/0/name != \"a\"", "no"),
        ("p/missing < 3", "no"),
        ("p/none == null", "yes"),
        ("p/rows/1/cpu <= 0.25", "yes"),
    ] {
        assert_eq!(render(&template(condition)), expected, "{condition}");
    }
    assert_eq!(render("{% if p/none %}1{% elif p/rows %}2{% else %}3{% end %}"), "2");
}

#[test]
fn loops_are_limited_and_a_tag_alone_on_its_line_leaves_none() {
    let template = "Rows:\n{% for row in p/rows limit 2 %}\n- {{ row/name }}\n{% end %}\nThat is all.";
    assert_eq!(render(template), "Rows:\n- a\n- b\nThat is all.");
    assert_eq!(render("{% for n in p/names %}[{{ n }}]{% end %}"), "[x][y]");
}

#[test]
fn a_loop_variable_hides_a_name_only_inside() {
    assert_eq!(render("{% for p in p/names %}{{ p }}{% end %}{{ p/rows | count }}"), "xy3");
}

#[test]
fn control_characters_never_reach_the_text() {
    assert_eq!(render("{{ p/evil }}"), "a\u{fffd}[2Jb");
}

#[test]
fn a_single_expression_keeps_its_type() {
    let value = |text: &str| Template::parse(text).unwrap().value(&scope());
    assert_eq!(value("{{ p/rows/2/bytes }}"), json!(512));
    assert_eq!(value("{{ p/missing }}"), json!(null));
    assert_eq!(value("pid {{ p/rows/2/bytes }}"), json!("pid 512"));
}

#[test]
fn mistakes_are_refused_where_they_are() {
    for (template, offset, word) in [
        ("ab {{ p", 3, "closed"),
        ("{{ p | nothing }}", 3, "no filter"),
        ("{{ p | round }}", 3, "another argument"),
        ("{{ p | count(1) }}", 3, "too many"),
        ("{{ P }}", 3, "neither"),
        ("{{ p/a~2 }}", 3, "Pointer"),
        ("{% for x in p limit 0 %}{% end %}", 3, "limit"),
        ("{% for x p %}{% end %}", 3, "for NAME in LIST"),
        ("{% if p %}", 3, "no `end`"),
        ("{% end %}", 3, "without"),
        ("{% if p %}{% else %}{% else %}{% end %}", 23, "expected `end`"),
        ("{% while p %}", 3, "not one of"),
        ("{% if p == q %}{% end %}", 3, "not a number"),
    ] {
        let error = Template::parse(template).unwrap_err();
        assert_eq!(error.offset, offset, "{template}: {error}");
        assert!(error.reason.contains(word), "{template}: {error}");
    }
    let deep = "{% if p %}".repeat(MAX_DEPTH + 1);
    assert!(Template::parse(&deep).unwrap_err().reason.contains("deeper"));
    assert!(Template::parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
}

#[test]
fn the_text_is_bounded_and_says_when_it_was_cut() {
    let mut scope = Scope::new();
    scope.set("l", json!(vec!["ä".repeat(100); 300]));
    let nested = "{% for a in l limit 200 %}{% for b in l limit 200 %}{{ b }}{% end %}{% end %}";
    let text = Template::parse(nested).unwrap().render(&scope);
    assert!(text.len() <= MAX_OUTPUT_BYTES && text.ends_with("what is shown)"), "{}", text.len());
    let silent = "{% for a in l limit 200 %}{% for b in l limit 200 %}{% for c in l limit 200 %}{% end %}{% end %}{% end %}";
    assert!(Template::parse(silent).unwrap().render(&scope).contains("cut here"));
}

#[test]
fn the_names_that_are_read_from_outside_are_known() {
    let template =
        "{{ a/x }}{% for b in c/y %}{{ b/z }}{{ b/n | percent_of(d/w) }}{% end %}{% if e %}{% end %}";
    assert_eq!(Template::parse(template).unwrap().roots(), ["a", "c", "d", "e"]);
}

/// Texts that look like templates, so that the interesting paths are met.
fn template_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{{ ".to_owned()),
        Just(" }}".to_owned()),
        Just("{% for x in p/rows limit 3 %}".to_owned()),
        Just("{% if p/rows | count > 1 %}".to_owned()),
        Just("{% elif not p/none %}".to_owned()),
        Just("{% else %}".to_owned()),
        Just("{% end %}".to_owned()),
        Just("{{ x/name }}".to_owned()),
        Just("{{ p/rows | max_by(/bytes) | at(/bytes) | bytes }}".to_owned()),
        Just("p/rows | where(/ok, true) | sum(/bytes)".to_owned()),
        "[a-z|/()\",.0-9 %{}\n~é]{0,12}",
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_template_panics_and_every_text_is_bounded(text in template_like()) {
        match Template::parse(&text) {
            Ok(template) => {
                prop_assert!(template.render(&scope()).len() <= MAX_OUTPUT_BYTES);
                template.value(&scope());
            }
            Err(error) => prop_assert!(error.offset <= text.len()),
        }
    }

    #[test]
    fn no_number_panics(number in prop::num::f64::ANY, whole in any::<i64>()) {
        let mut scope = Scope::new();
        scope.set("n", json!({ "f": number, "i": whole }));
        for filter in ["bytes", "gib", "percent", "duration", "round(3)", "percent_of(n/i)", "plural(\"a\", \"b\")"] {
            for path in ["n/f", "n/i"] {
                let text = Template::parse(&format!("{{{{ {path} | {filter} }}}}")).unwrap().render(&scope);
                prop_assert!(!text.is_empty() && text.len() < 400);
            }
        }
    }

    #[test]
    fn a_text_without_tags_is_copied(text in "[^{}]{0,200}") {
        prop_assert_eq!(render(&text), text);
    }
}
