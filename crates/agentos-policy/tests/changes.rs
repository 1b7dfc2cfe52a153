//! What rules say of changes: what no rule lets through by accident, what the policies that ship say, and quotas.

use agentos_api::change::Risk;
use agentos_policy::{
    DEFAULT, Decision, Moment, Policy, Quota, QuotaReached, Quotas, Rates, Request, Role, Spend, Subject,
    Verdict,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const AUTONOMOUS: &str = include_str!("../../../packaging/policies/autonomous.toml");
const READ_ONLY: &str = include_str!("../../../packaging/policies/read-only.toml");
const RISKS: [Risk; 4] = [Risk::Read, Risk::Low, Risk::Medium, Risk::Destructive];

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn judge(
    policy: &Policy,
    role: Role,
    subject: Subject<'_>,
    paths: &[&str],
    units: &[&str],
    args: &Value,
) -> Decision {
    let arguments: Map<String, Value> = args.as_object().unwrap().clone();
    let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let units: Vec<String> = units.iter().map(|&unit| unit.to_owned()).collect();
    let actor = if role == Role::Agent { "agent:openclaw/main" } else { "operator:anna" };
    let moment = Moment { weekday: 2, minute: 600, seconds: 0 };
    let request =
        Request { role, actor, subject, arguments: &arguments, paths: &paths, units: &units, moment };
    policy.decide(&request, &mut Rates::default(), None)
}

fn change(policy: &Policy, name: &str, risk: Risk, paths: &[&str]) -> Decision {
    judge(policy, Role::Agent, Subject::Mutation { name, risk }, paths, &[], &json!({}))
}

fn is_allowed(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Allow { .. })
}

#[test]
fn what_no_rule_names_is_asked_of_the_agent_and_not_of_the_person() {
    let policy = policy("");
    for risk in [Risk::Low, Risk::Medium, Risk::Destructive] {
        let subject = Subject::Mutation { name: "file.write", risk };
        assert_eq!(change(&policy, "file.write", risk, &["/srv/a"]).verdict, Verdict::Ask);
        assert!(is_allowed(&judge(&policy, Role::Operator, subject, &["/srv/a"], &[], &json!({}))));
    }
    assert!(is_allowed(&change(&policy, "file.write", Risk::Read, &["/srv/a"])), "nothing changes");
    assert!(is_allowed(&judge(&policy, Role::Agent, Subject::Query("os"), &[], &[], &json!({}))));
}

#[test]
fn a_rule_without_query_mutation_or_risk_keeps_both_and_allows_reading_alone() {
    let keeps = policy("[[rule]]\npath = \"/srv/**\"\nthen = \"deny\"");
    let read =
        |policy: &Policy| judge(policy, Role::Agent, Subject::Query("file"), &["/srv/a"], &[], &json!({}));
    assert_eq!(read(&keeps).verdict, Verdict::Deny);
    assert_eq!(change(&keeps, "file.write", Risk::Low, &["/srv/a"]).verdict, Verdict::Deny);
    let allows = policy("[[rule]]\npath = \"/srv/**\"\nthen = \"allow\"\nmask = false");
    assert_eq!(read(&allows).verdict, Verdict::Allow { mask: false });
    let decision = change(&allows, "file.write", Risk::Low, &["/srv/a"]);
    assert_eq!((decision.verdict, decision.rule), (Verdict::Ask, None));
    assert!(allows.warnings()[0].contains("allows reading alone"), "{:?}", allows.warnings());
    let reads = policy("[[rule]]\nquery = \"*\"\nthen = \"deny\"");
    assert_eq!(change(&reads, "file.write", Risk::Low, &[]).verdict, Verdict::Ask, "it is about questions");
}

#[test]
fn destructive_is_allowed_by_its_name_alone() {
    let broad = policy("[[rule]]\nmutation = \"*\"\nthen = \"allow\"");
    assert!(is_allowed(&change(&broad, "file.delete", Risk::Medium, &[])));
    assert_eq!(change(&broad, "file.delete", Risk::Destructive, &[]).verdict, Verdict::Ask);
    assert!(broad.warnings()[0].contains("no destructive change"), "{:?}", broad.warnings());
    let named = policy("[[rule]]\nmutation = \"file.*\"\nrisk = [\"destructive\"]\nthen = \"allow\"");
    assert!(is_allowed(&change(&named, "file.delete", Risk::Destructive, &[])));
    assert_eq!(change(&named, "file.delete", Risk::Low, &[]).verdict, Verdict::Ask);
}

#[test]
fn a_change_of_several_things_is_kept_by_one_and_allowed_by_all() {
    let policy = policy(
        "[[rule]]\nmutation = \"*\"\nunit = \"ssh\"\nthen = \"deny\"\n\
         [[rule]]\nmutation = \"*\"\nunit = [\"ssh.service\", \"sshd.service\"]\nthen = \"ask\"\noperator_only = true\n\
         [[rule]]\nrisk = \"low\"\npath = \"/srv/**\"\nthen = \"allow\"\n\
         [[rule]]\nrisk = \"low\"\nunit = \"web-*\"\nthen = \"allow\"",
    );
    assert!(is_allowed(&change(&policy, "file.copy", Risk::Low, &["/srv/a", "/srv/b"])));
    assert_eq!(change(&policy, "file.copy", Risk::Low, &["/srv/a", "/etc/b"]).verdict, Verdict::Ask);
    let units = |units: &[&str], args: Value| {
        let subject = Subject::Mutation { name: "file.write", risk: Risk::Low };
        judge(&policy, Role::Agent, subject, &[], units, &args)
    };
    let decision = units(&["web-1.service", "sshd.service"], json!({}));
    assert!(decision.verdict == Verdict::Ask && decision.operator_only);
    assert!(is_allowed(&units(&["web-1.service"], json!({ "unit": "web-2" }))));
    assert!(!is_allowed(&units(&["web-1.service"], json!({ "unit": "db" }))));
}

#[test]
fn a_rule_is_the_same_wherever_it_stands_and_another_once_it_says_otherwise() {
    let rule = "[[rule]]\nmutation = \"file.*\"\npath = \"/srv/**\"\nthen = \"ask\"\n";
    let id = |text: &str, risk| change(&policy(text), "file.write", risk, &["/srv/a"]).id;
    let first = id(rule, Risk::Low);
    let moved = format!(
        "# more\n[[rule]]\nquery = \"os\"\nthen = \"deny\"\n{}",
        rule.replace("\"/srv/**\"", "[ \"/srv/**\", ]")
    );
    assert_ne!(first, id(&rule.replace("/srv/**", "/srv/*"), Risk::Low));
    assert_ne!(first, id(rule, Risk::Destructive), "a yes to the small is none to the large");
    assert_eq!(first, id(&moved, Risk::Low));
    assert_eq!(id("", Risk::Medium).as_str(), "default:medium");
}

/// The rules about reading, as they are written.
fn reading(text: &str) -> &str {
    let from = text.find("# --- What it may read").unwrap();
    &text[from..text.find("# --- What it may change").unwrap()]
}

#[test]
fn the_policies_that_ship_say_the_same_of_reading_and_mean_each_word() {
    for text in [DEFAULT, AUTONOMOUS, READ_ONLY] {
        assert_eq!(policy(text).warnings(), [""; 0]);
        assert_eq!(reading(text), reading(DEFAULT));
        let after = &text[text.find("# --- What it may change").unwrap()..];
        assert!(!after.contains("query ="), "all rules about reading stand above");
    }
}

#[test]
fn the_careful_policy_asks_the_autonomous_one_allows_the_small_and_the_read_only_one_nothing() {
    let (careful, autonomous, read_only) = (policy(DEFAULT), policy(AUTONOMOUS), policy(READ_ONLY));
    for path in ["/srv/site/index.html", "/home/anna/notes.md", "/etc/hosts"] {
        for risk in [Risk::Low, Risk::Medium] {
            assert_eq!(change(&careful, "file.write", risk, &[path]).verdict, Verdict::Ask, "{path}");
            assert!(is_allowed(&change(&autonomous, "file.write", risk, &[path])), "{path}");
        }
        assert_eq!(change(&autonomous, "file.delete", Risk::Destructive, &[path]).verdict, Verdict::Ask);
    }
    for path in [
        "/etc/shadow",
        "/root/.ssh/id_rsa",
        "/home/a/.aws/credentials",
        "/home/a/.ssh/authorized_keys",
        "/etc/sudoers.d/x",
        "/etc/pam.d/sshd",
        "/etc/ssh/sshd_config",
        "/home/a/.mozilla/firefox/p/cookies.sqlite",
        "/etc/nginx/tls/server.key",
    ] {
        for policy in [&careful, &autonomous] {
            let decision = change(policy, "file.copy", Risk::Low, &["/srv/x", path]);
            assert!(decision.verdict == Verdict::Ask && decision.operator_only, "{path}: {decision:?}");
        }
    }
    for path in [
        "/etc/systemd/system/x.service",
        "/etc/cron.d/x",
        "/usr/bin/ls",
        "/root/.bashrc",
        "/boot/grub/grub.cfg",
        "/var/cache/apt/archives/x_1_all.deb",
    ] {
        assert_eq!(change(&autonomous, "file.write", Risk::Low, &[path]).verdict, Verdict::Ask, "{path}");
    }
    assert_eq!(
        change(&autonomous, "file.move", Risk::Low, &["/home/anna", "/srv/anna"]).verdict,
        Verdict::Ask
    );
    let service = |policy, name, unit: &str, risk| {
        let subject = Subject::Mutation { name, risk };
        judge(policy, Role::Agent, subject, &[], &[unit], &json!({ "unit": unit }))
    };
    for name in ["service.start", "service.reload"] {
        assert!(is_allowed(&service(&autonomous, name, "nginx.service", Risk::Medium)), "{name}");
        assert_eq!(service(&careful, name, "nginx.service", Risk::Medium).verdict, Verdict::Ask);
        for unit in
            ["ssh.service", "sshd.socket", "debug-shell.service", "serial-getty@ttyS0.service", "a.target"]
        {
            assert_eq!(service(&autonomous, name, unit, Risk::Medium).verdict, Verdict::Ask, "{name} {unit}");
        }
        let destructive = service(&autonomous, name, "nginx.service", Risk::Destructive);
        assert_eq!(destructive.verdict, Verdict::Ask);
    }
    for name in ["service.stop", "service.restart", "service.enable", "service.mask"] {
        assert_eq!(service(&autonomous, name, "nginx.service", Risk::Medium).verdict, Verdict::Ask, "{name}");
    }
    for (name, path) in [("hostname.set", "/etc/hostname"), ("timezone.set", "/etc/localtime")] {
        assert!(is_allowed(&change(&autonomous, name, Risk::Medium, &[path])), "{name}");
    }
    for name in
        ["sysctl.set", "swap.on", "swap.off", "firewall.open", "mount.mount", "user.create", "group.create"]
    {
        assert_eq!(change(&autonomous, name, Risk::Medium, &[]).verdict, Verdict::Ask, "{name}");
    }
    assert_eq!(
        change(&autonomous, "user.add", Risk::Low, &[]).verdict,
        Verdict::Ask,
        "a kind that it does not name"
    );
    for name in agentos_api::mutation::NAMES.iter().filter(|name| name.starts_with("package.")) {
        for risk in [Risk::Low, Risk::Medium, Risk::Destructive] {
            assert_eq!(change(&careful, name, risk, &[]).verdict, Verdict::Ask, "{name}");
            assert_eq!(change(&autonomous, name, risk, &[]).verdict, Verdict::Ask, "{name}");
        }
    }
    for name in agentos_api::mutation::NAMES {
        for risk in RISKS {
            let expected = if risk == Risk::Read { Verdict::Allow { mask: true } } else { Verdict::Deny };
            assert_eq!(change(&read_only, name, risk, &["/srv/a"]).verdict, expected, "{name}");
        }
    }
}

const AGENT: &str = "agent:openclaw/main";

#[test]
fn no_policy_that_ships_lets_a_timer_be_made_without_a_person() {
    let paths = [
        "/etc/systemd/system/job-a.service",
        "/etc/systemd/system/job-a.timer",
        "/etc/systemd/system/timers.target.wants/job-a.timer",
    ];
    for (text, verdict) in [(DEFAULT, Verdict::Ask), (AUTONOMOUS, Verdict::Ask), (READ_ONLY, Verdict::Deny)] {
        let policy = policy(text);
        for mutation in ["timer.create", "timer.remove"] {
            let decision = change(&policy, mutation, Risk::Destructive, &paths);
            assert_eq!(decision.verdict, verdict, "{mutation}: {decision:?}");
        }
        // A yes in a chat is not enough for what runs again and again.
        let decision = change(&policy, "timer.create", Risk::Destructive, &paths);
        assert!(decision.operator_only || verdict == Verdict::Deny, "{decision:?}");
    }
}

fn take(quotas: &mut Quotas, policy: &Policy, spend: Spend, now: u64) -> Result<(), QuotaReached> {
    quotas.take(policy, Role::Agent, AGENT, spend, now)
}

#[test]
fn ten_thousand_refused_calls_are_told_apart_from_the_first() {
    let (policy, mut quotas) = (policy("[quota.agent]\ncalls_per_minute = 5"), Quotas::default());
    let taken = (0..5).all(|_| take(&mut quotas, &policy, Spend::Call, 7).is_ok());
    assert!(taken);
    let refused: Vec<QuotaReached> =
        (0..10_000).map(|_| take(&mut quotas, &policy, Spend::Call, 8).unwrap_err()).collect();
    assert_eq!(refused.iter().filter(|reached| reached.first).count(), 1);
    let reached = &refused[0];
    assert_eq!((reached.which, reached.limit, reached.retry_after), (Quota::CallsPerMinute, 5, Some(60)));
    assert!(take(&mut quotas, &policy, Spend::Call, 67).is_err());
    assert!(take(&mut quotas, &policy, Spend::Call, 68).is_ok());
    assert!(quotas.take(&policy, Role::Operator, "operator:a", Spend::Call, 8).is_ok(), "it has no quota");
}

#[test]
fn a_change_counts_as_one_and_by_its_bytes_and_what_is_refused_counts_as_nothing() {
    let text = "[quota.agent]\nchanges_per_hour = 3\nbytes_per_day = \"1 KiB\"\nwaiting_at_once = 2\n\
                [quota.\"agent:openclaw\"]\nchanges_per_hour = 2";
    let (policy, mut quotas) = (policy(text), Quotas::default());
    let large = take(&mut quotas, &policy, Spend::Change { bytes: 1025 }, 0).unwrap_err();
    assert_eq!((large.which, large.retry_after), (Quota::BytesPerDay, None), "no time makes room for it");
    assert!(take(&mut quotas, &policy, Spend::Change { bytes: 1000 }, 0).is_ok());
    assert!(take(&mut quotas, &policy, Spend::Change { bytes: 25 }, 10).is_err());
    assert!(take(&mut quotas, &policy, Spend::Change { bytes: 24 }, 10).is_ok());
    let user = take(&mut quotas, &policy, Spend::Change { bytes: 0 }, 20).unwrap_err();
    assert_eq!((user.principal.as_str(), user.limit), ("agent:openclaw", 2));
    assert!(quotas.take(&policy, Role::Agent, "agent:other", Spend::Change { bytes: 0 }, 20).is_ok());
    assert!(take(&mut quotas, &policy, Spend::Waiting { already: 1 }, 20).is_ok());
    let waiting = take(&mut quotas, &policy, Spend::Waiting { already: 2 }, 20).unwrap_err();
    assert_eq!((waiting.which, waiting.retry_after), (Quota::WaitingAtOnce, None));
}

#[test]
fn programs_are_counted_when_they_were_started_and_kept_bytes_as_a_share_of_the_disk() {
    let (policy, mut quotas) =
        (policy("[quota.agent]\nprocesses_per_hour = 5\ndisk_share = \"0.5 %\""), Quotas::default());
    let programs = |started| Spend::Programs { started };
    assert!(take(&mut quotas, &policy, programs(0), 0).is_ok());
    quotas.count(&policy, Role::Agent, AGENT, programs(4), 0);
    assert!(take(&mut quotas, &policy, programs(0), 1).is_ok());
    quotas.count(&policy, Role::Agent, AGENT, programs(3), 1);
    let reached = take(&mut quotas, &policy, programs(0), 2).unwrap_err();
    assert_eq!((reached.which, reached.limit), (Quota::ProcessesPerHour, 5));
    assert!(reached.retry_after.is_some_and(|seconds| seconds <= 3660));
    let kept = |bytes| Spend::Kept { bytes, disk: 200_000 };
    assert!(take(&mut quotas, &policy, kept(1000), 2).is_ok());
    let reached = take(&mut quotas, &policy, kept(1), 3).unwrap_err();
    assert_eq!(reached.to_string(), "the quota disk_share = 0.50 % of agent is reached");
    assert!(take(&mut quotas, &policy, kept(1), 90_000).is_ok());
}

#[test]
fn a_quota_that_a_person_lifted_holds_again_when_its_time_is_over() {
    let (policy, mut quotas) = (policy("[quota.agent]\ncalls_per_minute = 1"), Quotas::default());
    assert!(take(&mut quotas, &policy, Spend::Call, 0).is_ok());
    assert!(take(&mut quotas, &policy, Spend::Call, 0).is_err());
    quotas.lift("agent:openclaw", Quota::CallsPerMinute, 10);
    assert!(take(&mut quotas, &policy, Spend::Call, 1).is_err(), "another principal's quota was lifted");
    quotas.lift("agent", Quota::CallsPerMinute, 10);
    assert!(take(&mut quotas, &policy, Spend::Call, 9).is_ok());
    assert!(take(&mut quotas, &policy, Spend::Call, 10).is_err());
    quotas.lift("agent", Quota::CallsPerMinute, 20);
    quotas.put_back("agent", Quota::CallsPerMinute);
    assert!(take(&mut quotas, &policy, Spend::Call, 11).is_err());
}

#[test]
fn a_share_is_a_percentage() {
    for (text, right) in [
        ("\"5 %\"", true),
        ("\"100%\"", true),
        ("\"0.25 %\"", true),
        ("\"100.01 %\"", false),
        ("\"5\"", false),
        ("5", false),
        ("\"-1 %\"", false),
        ("\"1.234 %\"", false),
        ("\" %\"", false),
        ("\"99999999999999999999 %\"", false),
    ] {
        assert_eq!(Policy::parse(&format!("[quota.agent]\ndisk_share = {text}")).is_ok(), right, "{text}");
    }
}

/// A rule file of rules that are understood.
fn rules() -> impl Strategy<Value = String> {
    let one_of = |texts: &'static [&'static str]| proptest::sample::select(texts);
    let rule = (
        one_of(&[
            "",
            "query = \"file\"\n",
            "mutation = \"file.*\"\n",
            "mutation = [\"file.write\"]\n",
            "mutation = \"*\"\n",
        ]),
        one_of(&[
            "",
            "",
            "risk = \"low\"\n",
            "risk = [\"low\", \"medium\"]\n",
            "risk = \"destructive\"\n",
            "risk = \"read\"\n",
        ]),
        one_of(&["", "path = \"/srv/**\"\n", "path = [\"/etc/*\", \"/srv/a\"]\n"]),
        one_of(&["", "principal = \"agent\"\n", "principal = \"agent:openclaw\"\n"]),
        one_of(&[
            "then = \"allow\"\n",
            "then = \"allow\"\nrate = \"1/hour\"\n",
            "then = \"ask\"\n",
            "then = \"deny\"\n",
        ]),
    )
        .prop_map(|(subject, risk, path, principal, then)| {
            let risk = if subject.starts_with("query") { "" } else { risk };
            format!("[[rule]]\n{subject}{risk}{path}{principal}{then}")
        });
    proptest::collection::vec(rule, 0..6).prop_map(|rules| rules.concat())
}

fn paths() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(
        proptest::sample::select(&["/srv/a", "/srv/b/c", "/etc/x", "/home/y"][..]),
        0..3,
    )
}

proptest! {
    #[test]
    fn no_file_of_this_form_brings_it_down(text in "(\\[\\[rule\\]\\]\n|\\[quota\\.agent\\]\n)?(\
        (then|mutation|risk|path|quota|operator_only|calls_per_minute|bytes_per_day|disk_share) = \
        (\"(allow|ask|file\\.\\*|low|[^\"\n]{0,8})\"|\\[[\"a-z, ]{0,9}\\]|true|-?[0-9]{1,22}|0x[0-9a-f]{1,18}|\\{[a-z=\" ]{0,8}\\})\n){0,5}")
    {
        if let Ok(policy) = Policy::parse(&text) {
            let _ = policy.warnings();
            for risk in RISKS {
                let _ = change(&policy, "file.write", risk, &["/srv/a"]);
            }
        }
    }

    #[test]
    fn one_more_rule_that_denies_opens_nothing(before in rules(), after in rules(), paths in paths(), risk in 0_usize..4,
        deny in proptest::sample::select(&["", "mutation = \"*\"\n", "risk = \"low\"\n", "path = \"/srv/**\"\n", "query = \"*\"\n"][..]))
    {
        let without = policy(&format!("{before}{after}"));
        let with = policy(&format!("{before}[[rule]]\n{deny}then = \"deny\"\n{after}"));
        let rank = |decision: &Decision| match decision.verdict {
            Verdict::Allow { .. } => 0,
            Verdict::Ask => 1,
            Verdict::Deny => 2,
        };
        let (a, b) = (change(&without, "file.write", RISKS[risk], &paths), change(&with, "file.write", RISKS[risk], &paths));
        prop_assert!(rank(&b) >= rank(&a), "{a:?} became {b:?}");
    }

    #[test]
    fn a_change_is_allowed_in_so_many_words_and_a_destructive_one_by_its_name(text in rules(), paths in paths(), risk in 1_usize..4) {
        let parsed = policy(&text);
        let decision = change(&parsed, "file.write", RISKS[risk], &paths);
        if is_allowed(&decision) {
            let rule = decision.rule.unwrap();
            let written = text.split("[[rule]]\n").nth(rule.number).unwrap();
            prop_assert!(written.contains("mutation") || written.contains("risk"), "{written}");
            prop_assert!(RISKS[risk] != Risk::Destructive || written.contains("\"destructive\""), "{written}");
        }
    }

    #[test]
    fn no_minute_holds_more_calls_than_the_quota_and_after_the_time_it_names_there_is_room(
        steps in proptest::collection::vec(0_u64..20, 1..200), limit in 1_u64..8)
    {
        let policy = policy(&format!("[quota.agent]\ncalls_per_minute = {limit}"));
        let (mut quotas, mut now, mut taken) = (Quotas::default(), 0, Vec::new());
        for step in steps {
            now += step;
            match take(&mut quotas, &policy, Spend::Call, now) {
                Ok(()) => taken.push(now),
                Err(reached) => {
                    let later = now + reached.retry_after.unwrap();
                    prop_assert!(take(&mut quotas.clone(), &policy, Spend::Call, later).is_ok());
                    prop_assert!(take(&mut quotas.clone(), &policy, Spend::Call, later - 1).is_err());
                }
            }
        }
        let most = usize::try_from(limit).unwrap();
        for window in taken.windows(most + 1) {
            prop_assert!(window[most] - window[0] >= 60, "{taken:?}");
        }
    }
}
