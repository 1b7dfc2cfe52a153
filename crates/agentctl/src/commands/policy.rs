//! `agentctl policy`: what is wrong with the rules for reading and for changes, and which of them decides. It asks no
//! agentd: it reads the file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agentos_api::change::Risk;
use agentos_api::problem::near_matches;
use agentos_api::query::QueryDescription;
use agentos_api::query::path::{AbsolutePath, encode};
use agentos_api::{mutation, query};
use agentos_policy::{
    DEFAULT, Decision, Moment, Origin, Policy, PolicyError, Rates, Request, Role, Subject, Verdict,
    path_argument,
};
use clap::{Args, Subcommand};
use jiff::Zoned;
use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Style, Table, counted};

/// Where the policy is installed.
const INSTALLED: &str = "/etc/agentos/policy.toml";
/// The longest policy that agentd reads, in bytes.
const LONGEST: u64 = 1 << 20;

/// Checks the rules for reading and for changes, and says which of them decides.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl policy check\n  \
    agentctl policy explain file path=/etc/shadow\n  \
    agentctl policy explain file.write path=/etc/hosts --risk medium")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Explain(Explain),
}

/// Reads a policy, and says what is wrong with it and which rules can never decide.
///
/// Exits with 1 when agentd would not take it. `systemctl reload agentd` puts a good one in force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentctl policy check\n  agentctl policy check ./policy.toml --json")]
struct Check {
    /// The policy; without it the installed one, and where there is none the one that is built in
    file: Option<PathBuf>,
}

/// Says which rule decides about a question or a change, and why.
///
/// A change has the risk that its plan says: give it with --risk. Of a file that is there, the name it has once symbolic links are followed is looked at too. agentd looks further: at
/// hard links and other mounts. Rules with a rate are taken as not yet used up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl policy explain file path=/etc/shadow\n  \
    agentctl policy explain journal unit=nginx --principal agent:openclaw\n  \
    agentctl policy explain file.write path=/etc/hosts --risk medium\n  \
    agentctl policy explain file --path /srv/x --file ./policy.toml --json")]
struct Explain {
    /// The name of the query or of the mutation
    name: String,
    /// Its arguments: key=value, or a JSON object
    #[arg(value_name = "KEY=VALUE")]
    given: Vec<String>,
    /// Who asks: agent or operator, with a user and a session below it where a rule looks at them
    #[arg(long, value_name = "NAME", default_value = "agent")]
    principal: String,
    /// How much harm the change can do, as its plan says; without it low. Only with a mutation
    #[arg(long, value_name = "RISK", value_enum)]
    risk: Option<Harm>,
    /// A unit that the change touches; may be given several times
    #[arg(long = "unit", value_name = "UNIT")]
    units: Vec<String>,
    /// Another name of the same file, or another file of the change; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<AbsolutePath>,
    /// The policy; without it the installed one, and where there is none the one that is built in
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// [`Risk`], as it is typed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Harm {
    /// Nothing changes
    Read,
    /// Small, local, undone exactly
    Low,
    /// Others notice it, or undoing does not bring all of it back
    Medium,
    /// Something can be lost, or somebody locked out
    Destructive,
}

impl From<Harm> for Risk {
    fn from(harm: Harm) -> Self {
        match harm {
            Harm::Read => Self::Read,
            Harm::Low => Self::Low,
            Harm::Medium => Self::Medium,
            Harm::Destructive => Self::Destructive,
        }
    }
}

pub(crate) fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.command {
        Command::Check(arguments) => check(context, arguments),
        Command::Explain(arguments) => explain(context, arguments),
    }
}

/// A policy's text, and where it comes from.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn read(file: Option<&Path>) -> Result<Self, CliError> {
        let path = file.unwrap_or(Path::new(INSTALLED));
        let unreadable = |error: io::Error| {
            CliError::new(format!("cannot read the policy {}", path.display())).because(&error)
        };
        let opened = match File::open(path) {
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { name: "built in".to_owned(), text: DEFAULT.to_owned() });
            }
            opened => opened.map_err(unreadable)?,
        };
        let mut text = String::new();
        opened.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > LONGEST {
            return Err(unreadable(io::Error::other(
                "it is larger than a mebibyte, and agentd would not read it",
            )));
        }
        Ok(Self { name: path.display().to_string(), text })
    }

    fn policy(&self) -> Result<Policy, CliError> {
        Policy::parse(&self.text).map_err(|error| {
            CliError::with_exit(format!("{}, {error}", self.name), Exit::NotWell)
                .hint("agentctl policy check reads it again.")
        })
    }
}

/// What a check found, as `--json` shows it.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a str,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Fault {
    line: usize,
    column: usize,
    message: String,
}

impl From<PolicyError> for Fault {
    fn from(error: PolicyError) -> Self {
        Self { line: error.line, column: error.column, message: error.message }
    }
}

fn check(context: &mut Context, arguments: &Check) -> Result<Exit, CliError> {
    let source = Source::read(arguments.file.as_deref())?;
    let parsed = Policy::parse(&source.text);
    let output = &mut context.output;
    if output.json {
        let file = source.name.as_str();
        let (valid, rules, error, warnings) = match parsed {
            Ok(policy) => (true, Some(policy.rules()), None, policy.warnings()),
            Err(error) => (false, None, Some(Fault::from(error)), Vec::new()),
        };
        output.json(&Checked { file, valid, rules, error, warnings })?;
        return Ok(if valid { Exit::Well } else { Exit::NotWell });
    }
    let policy = match parsed {
        Ok(policy) => policy,
        Err(error) => {
            output.line(&[
                Cell::styled("wrong", Style::Bad),
                Cell::new(format!("  {}, {error}", source.name)),
            ])?;
            let text = source.text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
            output.block(text, 7)?;
            return Ok(Exit::NotWell);
        }
    };
    let rules = counted(policy.rules() as u64, "rule");
    output.line(&[Cell::styled("good", Style::Good), Cell::new(format!("  {}: {rules}", source.name))])?;
    for warning in policy.warnings() {
        output.line(&[Cell::styled("look", Style::Warning), Cell::new(format!("  {warning}"))])?;
    }
    Ok(Exit::Well)
}

/// A decision, as `--json` shows it.
#[derive(Serialize)]
struct Explained<'a> {
    policy: &'a str,
    principal: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<&'static str>,
    args: &'a Map<String, Value>,
    paths: Vec<String>,
    decision: &'static str,
    masked: bool,
    operator_only: bool,
    rule: Option<Deciding>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Deciding {
    origin: &'static str,
    number: usize,
    line: usize,
    name: Option<String>,
}

/// What is known of the query or mutation, and what the policy is asked about it.
fn subject(arguments: &Explain) -> Result<(QueryDescription, Subject<'_>), CliError> {
    let name = arguments.name.as_str();
    if let Some(mutation) = mutation::descriptions().into_iter().find(|mutation| mutation.name == name) {
        let mutation::MutationDescription { name: described, summary, arguments: schema } = mutation;
        let description =
            QueryDescription { name: described, summary, arguments: schema, result: Value::Null };
        let risk = arguments.risk.map_or(Risk::Low, Risk::from);
        return Ok((description, Subject::Mutation { name, risk }));
    }
    let Some(description) = query::descriptions().into_iter().find(|query| query.name == name) else {
        let near = near_matches(name, query::NAMES.iter().chain(mutation::NAMES).copied());
        let message = format!("there is no query and no mutation {name:?}");
        return Err(CliError::with_exit(message, Exit::Usage).near(near));
    };
    if arguments.risk.is_some() || !arguments.units.is_empty() {
        let message = format!("{name} is a query, which changes nothing");
        return Err(CliError::with_exit(message, Exit::Usage).hint("Leave out --risk and --unit."));
    }
    Ok((description, Subject::Query(name)))
}

fn explain(context: &mut Context, arguments: &Explain) -> Result<Exit, CliError> {
    let (description, subject) = subject(arguments)?;
    let role = match arguments.principal.split(':').next() {
        Some("agent") => Role::Agent,
        Some("operator") => Role::Operator,
        _ => {
            let message = format!("{:?} is neither agent nor operator", arguments.principal);
            let hint = "Write agent, operator, or one with a user below it: agent:openclaw/main.";
            return Err(CliError::with_exit(message, Exit::Usage).hint(hint));
        }
    };
    let args = arguments::parse(Some(&description), &arguments.given)?;
    let source = Source::read(arguments.file.as_deref())?;
    let policy = source.policy()?;
    let paths = names(&args, &arguments.paths);
    let request = Request {
        role,
        actor: &arguments.principal,
        subject,
        arguments: &args,
        paths: &paths,
        units: &arguments.units,
        moment: now(),
    };
    let decision = policy.decide(&request, &mut Rates::default(), None);
    show(context, &source, &request, &decision)
}

fn show(
    context: &mut Context,
    source: &Source,
    request: &Request<'_>,
    decision: &Decision,
) -> Result<Exit, CliError> {
    let (word, style, masked) = match decision.verdict {
        Verdict::Allow { mask } => ("allow", Style::Good, mask),
        Verdict::Ask => ("ask", Style::Warning, false),
        Verdict::Deny => ("deny", Style::Bad, false),
    };
    let (query, mutation, risk) = match request.subject {
        Subject::Query(name) => (Some(name), None, None),
        Subject::Mutation { name, risk } => (None, Some(name), Some(risk.as_str())),
    };
    let paths: Vec<String> = request.paths.iter().map(|path| encode(path)).collect();
    let output = &mut context.output;
    if output.json {
        let rule = decision.rule.as_ref().map(|rule| Deciding {
            origin: if rule.origin == Origin::BuiltIn { "built_in" } else { "file" },
            number: rule.number,
            line: rule.line,
            name: rule.name.clone(),
        });
        output.json(&Explained {
            policy: &source.name,
            principal: request.actor,
            query,
            mutation,
            risk,
            args: request.arguments,
            paths,
            decision: word,
            masked,
            operator_only: decision.operator_only,
            rule,
            reason: decision.reason.as_deref(),
        })?;
        return Ok(Exit::Well);
    }
    let rule = match (&decision.rule, decision.verdict) {
        (Some(rule), _) => rule.to_string(),
        (None, Verdict::Ask) => "none; a change that no rule names is asked about".to_owned(),
        (None, _) => "none; what no rule names is allowed".to_owned(),
    };
    let mut table = Table::fields();
    table
        .field("decision", Cell::styled(format!("{word}: {}", meaning(decision, mutation.is_some())), style));
    table.field("rule", rule);
    if let Some(risk) = risk {
        table.field("risk", risk);
    }
    if let Some(reason) = &decision.reason {
        table.field("reason", reason.as_str());
    }
    table.field("policy", source.name.as_str());
    if !paths.is_empty() {
        table.field("looked at", paths.join(", "));
    }
    output.table(&table)?;
    Ok(Exit::Well)
}

/// What a decision comes to.
fn meaning(decision: &Decision, change: bool) -> &'static str {
    match (decision.verdict, change) {
        (Verdict::Allow { .. }, true) => "it is made",
        (Verdict::Allow { mask: true }, false) => "it is answered, with secrets masked",
        (Verdict::Allow { mask: false }, false) => "it is answered as it is",
        (Verdict::Ask, true) if decision.operator_only => {
            "it waits for a yes on the operator's own socket; one in a chat does not count"
        }
        (Verdict::Ask, true) => "it waits for a person's yes",
        (Verdict::Ask, false) => {
            "it is refused: a person would have to say yes, and approvals are not built yet"
        }
        (Verdict::Deny, _) => "it is refused",
    }
}

/// The names of the file a question is about: as it is asked for, with links followed, and those that were given.
fn names(args: &Map<String, Value>, given: &[AbsolutePath]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = path_argument(args).into_iter().collect();
    // Where a file is moved or copied to.
    names.extend(args.get("to").and_then(Value::as_str).map(|path| path.as_bytes().to_vec()));
    names.extend(given.iter().map(|path| path.as_bytes().to_vec()));
    let followed: Vec<Vec<u8>> = names
        .iter()
        .filter_map(|name| Path::new(std::ffi::OsStr::from_bytes(name)).canonicalize().ok())
        .map(|path| path.as_os_str().as_bytes().to_vec())
        .collect();
    for name in followed {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Now, by the clock on the wall.
fn now() -> Moment {
    let now = Zoned::now();
    let weekday = u8::try_from(now.weekday().to_monday_zero_offset()).unwrap_or_default();
    let minute = u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or_default();
    Moment { weekday, minute, seconds: 0 }
}
