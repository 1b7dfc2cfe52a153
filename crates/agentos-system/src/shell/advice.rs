//! Which mode will do, in a sentence: from what was refused, and from what is remembered. It decides nothing.

use agentos_api::query::shell::Refused;

use super::remembered::Told;

/// Programs that are named in a sentence.
const MOST_NAMED: usize = 3;

/// What was refused while observing, of which another mode can have it.
pub(super) fn is_for_another_mode(what: &str) -> bool {
    what == "write" || speaks(what)
}

fn speaks(what: &str) -> bool {
    matches!(what, "connect" | "call" | "signal")
}

/// After a command that observed.
pub(crate) fn after_observing(refused: &[Refused], programs: &[Told]) -> Option<String> {
    let mut said = Vec::new();
    if refused.iter().any(|refused| refused.what == "write") {
        said.push(
            "Writing files is for mode preview: what it does to them is shown, and made once it is agreed to."
                .to_owned(),
        );
    }
    if refused.iter().any(|refused| speaks(&refused.what)) {
        said.push(
            "Speaking to other programs is for a typed mutation (system_mutate) or, where there is none, mode apply."
                .to_owned(),
        );
    }
    if said.is_empty() {
        return None;
    }
    said.extend(programs.iter().filter(|told| told.refused).take(MOST_NAMED).map(sentence));
    Some(said.join(" "))
}

/// After a preview that exited with 0, was refused nothing and changed no file.
pub(crate) fn after_no_change(programs: &[Told]) -> String {
    let doubtful: Vec<String> =
        programs.iter().filter(|told| told.counts.refused > 0).take(MOST_NAMED).map(sentence).collect();
    if doubtful.is_empty() {
        "It changed no file, so mode observe would do, for which nobody has to agree.".to_owned()
    } else {
        format!("It changed no file, so mode observe may do. But {}", doubtful.join(" "))
    }
}

/// What is remembered of a program.
fn sentence(told: &Told) -> String {
    let counts = &told.counts;
    let nothing = match counts.observed {
        0 => String::new(),
        observed => format!(", and nothing {}", times(observed)),
    };
    let previews = match (counts.changed, counts.unchanged) {
        (0, 0) => String::new(),
        (changed, 0) => format!("; previews with it changed files {}", times(changed)),
        (0, unchanged) => format!("; previews with it changed no file {}", times(unchanged)),
        (changed, unchanged) => {
            format!("; previews with it changed files {}, and none {}", times(changed), times(unchanged))
        }
    };
    let refused = times(counts.refused);
    format!("{} was refused something while observing {refused}{nothing}{previews}.", told.name)
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

#[cfg(test)]
mod tests {
    use super::super::remembered::Counts;
    use super::*;

    fn refused(what: &str) -> Refused {
        Refused { what: what.to_owned(), on: "/x".to_owned(), because: "so".to_owned() }
    }

    fn told(name: &str, refused: bool, counts: [u32; 4]) -> Told {
        let [observed, was_refused, unchanged, changed] = counts;
        let counts = Counts { observed, refused: was_refused, unchanged, changed };
        Told { name: name.to_owned(), refused, counts }
    }

    #[test]
    fn what_was_refused_says_which_mode_has_it() {
        assert_eq!(after_observing(&[], &[told("ls", false, [9, 0, 0, 0])]), None);
        for what in ["read", "exceed"] {
            assert_eq!(after_observing(&[refused(what)], &[]), None, "no mode has it");
        }
        let write = after_observing(&[refused("write")], &[]).unwrap();
        assert!(write.contains("mode preview") && !write.contains("mode apply"), "{write}");
        for what in ["connect", "call", "signal"] {
            let speaks = after_observing(&[refused(what)], &[]).unwrap();
            assert!(speaks.contains("system_mutate") && !speaks.contains("mode preview"), "{speaks}");
        }
        let both = after_observing(&[refused("call"), refused("write")], &[]).unwrap();
        assert!(both.contains("mode preview") && both.contains("mode apply"), "{both}");
    }

    #[test]
    fn the_programs_that_were_refused_are_named_with_what_is_remembered() {
        let programs = [told("sh", false, [4, 1, 0, 2]), told("sed", true, [0, 3, 0, 2])];
        let said = after_observing(&[refused("write")], &programs).unwrap();
        assert!(
            said.ends_with(
                " sed was refused something while observing 3 times; previews with it changed files 2 times."
            ),
            "{said}"
        );
        assert!(!said.contains("sh was"), "{said}");
        let many: Vec<Told> = (0..16).map(|_| told("one", true, [0, 1, 1, 0])).collect();
        assert_eq!(after_observing(&[refused("write")], &many).unwrap().matches("one was").count(), 3);
    }

    #[test]
    fn a_preview_that_changed_nothing_says_what_is_to_be_expected_of_observing() {
        let fine = after_no_change(&[told("ls", false, [0, 0, 1, 0])]);
        assert!(fine.contains("observe would do"), "{fine}");
        let doubtful = after_no_change(&[told("ls", false, [2, 0, 1, 0]), told("sh", false, [5, 1, 1, 2])]);
        assert_eq!(
            doubtful,
            "It changed no file, so mode observe may do. But sh was refused something while observing once, and nothing 5 \
             times; previews with it changed files 2 times, and none once."
        );
    }
}
