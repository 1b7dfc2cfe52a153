//! What may be read and changed, and by whom: an ordered list of rules, quotas, and the masking of secrets in what is
//! answered.
//!
//! Nothing here reads a file, a clock or the environment. A text becomes a [`Policy`] or an error with its line and column;
//! a [`Request`] becomes a [`Decision`] that names the rule which made it. Everything is bounded, and matching takes time
//! in proportion to what is matched.

mod builtin;
mod decide;
mod error;
mod glob;
mod parse;
mod quota;
mod rate;
mod request;
mod rule;
mod shadow;

pub mod mask;

pub use decide::{Decision, Verdict};
pub use error::PolicyError;
pub use quota::{Quota, QuotaReached, Quotas, Spend};
pub use rate::Rates;
pub use request::{Moment, Request, Role, Subject, path_argument};
pub use rule::{Origin, Policy, RuleId, RuleName, Then};

/// The policy that holds where no file is: the text that is installed as `/etc/agentos/policy.toml`.
pub const DEFAULT: &str = include_str!("../../../packaging/etc/policy.toml");

/// Most rules that a file may have.
pub const MAX_RULES: usize = 1_000;
/// Most values of one matcher.
pub const MAX_VALUES: usize = 64;
/// Most patterns of a file, in all.
pub const MAX_PATTERNS: usize = 4_096;
/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 256;
/// Longest reason, in characters.
pub const MAX_REASON: usize = 300;
/// Longest name of a rule, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Most rules with a rate, and the largest rate: each costs so many moments of memory.
pub const MAX_RATED_RULES: usize = 100;
/// Most principals with a quota.
pub const MAX_QUOTAS: usize = 16;
/// The largest number of requests in a rate.
pub const MAX_RATE: u32 = 1_000;
