//! `[quota.agent]`: how much of what, for whom.

use toml::de::DeValue;

use super::{Item, Reader, Result};
use crate::MAX_QUOTAS;
use crate::quota::{Quota, QuotaLimits};

/// The largest value: enough for a year of the fastest disk, and exact in whatever reads JSON.
const LARGEST: u64 = 1 << 50;

impl Reader<'_, '_> {
    pub(super) fn quotas(&self, value: &Item<'_>) -> Result<Vec<QuotaLimits>> {
        let form = "quotas are written as [quota.agent], with their limits below it";
        let DeValue::Table(table) = value.get_ref() else { return Err(self.wrong(value, form)) };
        let mut quotas = Vec::new();
        for (key, value) in table {
            let principal = key.get_ref();
            let role = principal.split(':').next().unwrap_or_default();
            // What stands behind a slash is the caller's own word: another word would be another quota.
            if !matches!(role, "agent" | "operator") || principal.contains(['/', '*', '?']) {
                let known = Quota::EACH.map(Quota::as_str);
                if known.contains(&principal.as_ref()) {
                    return Err(self.wrong_at(key.span().start, form));
                }
                let mut error = self.unknown(key.span().start, principal, &["agent", "operator"]);
                error.message.push_str("; a user below it is written [quota.\"agent:openclaw\"]");
                return Err(error);
            }
            if quotas.len() >= MAX_QUOTAS {
                return Err(
                    self.wrong_at(key.span().start, &format!("at most {MAX_QUOTAS} principals have a quota"))
                );
            }
            let DeValue::Table(limits) = value.get_ref() else { return Err(self.wrong(value, form)) };
            let mut quota = QuotaLimits::new(principal.to_string());
            for (key, value) in limits {
                let name = key.get_ref();
                let Some(which) = Quota::named(name) else {
                    return Err(self.unknown(key.span().start, name, &Quota::EACH.map(Quota::as_str)));
                };
                quota.set(which, self.amount(value, which)?);
            }
            quotas.push(quota);
        }
        Ok(quotas)
    }

    /// A number; for bytes also a text with a unit, `"512 MiB"`; for a share a percentage, `"5 %"`.
    fn amount(&self, value: &Item<'_>, which: Quota) -> Result<u64> {
        let wrong = || {
            let form = match which {
                Quota::BytesPerDay => "a whole number from 0 or a text like \"512 MiB\"",
                Quota::DiskShare => "a text like \"5 %\", from 0 to 100 with two decimals at most",
                _ => "a whole number from 0",
            };
            self.wrong(value, &format!("{} is {form}", which.as_str()))
        };
        let amount = match value.get_ref() {
            DeValue::String(text) if which == Quota::DiskShare => share(text),
            DeValue::Integer(number) if which != Quota::DiskShare => {
                u64::from_str_radix(number.as_str(), number.radix()).ok()
            }
            DeValue::String(text) if which == Quota::BytesPerDay => bytes(text),
            _ => None,
        };
        amount.filter(|&amount| amount <= LARGEST).ok_or_else(wrong)
    }
}

/// Hundredths of a percent.
fn share(text: &str) -> Option<u64> {
    let number = text.strip_suffix('%')?.trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let part = part.parse::<u64>().ok()? * if part.len() == 1 { 10 } else { 1 };
    let share = whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)?;
    (share <= 10_000).then_some(share)
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit.trim() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
