//! A rule of AgentOS' own table, and the line of nft(8) that it is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use agentos_api::mutation::firewall::{Family, Protocol};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Block,
    Close,
    Open,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Block, Self::Close, Self::Open];

    const fn word(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Close => "close",
            Self::Open => "open",
        }
    }

    /// The chain that such rules are in.
    pub(crate) const fn chain(self) -> &'static str {
        match self {
            Self::Block => "blocked",
            Self::Close => "closed",
            Self::Open => "opened",
        }
    }
}

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) address: IpAddr,
    pub(crate) length: u8,
}

impl Net {
    /// The address is in the network.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.length) == self.address
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl FromStr for Net {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be an address or a network, such as 192.0.2.7 or 2001:db8::/32";
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().ok().filter(|&length| length <= longest).ok_or(WRONG)?,
            None => longest,
        };
        Ok(Self { address: masked(address, length), length })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        write!(formatter, "{}", self.address)?;
        if self.length < longest { write!(formatter, "/{}", self.length) } else { Ok(()) }
    }
}

/// Ports, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) protocol: Protocol,
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verdict: Verdict,
    /// Without: all ports and protocols.
    pub(crate) ports: Option<Ports>,
    pub(crate) family: Family,
    pub(crate) source: Option<Net>,
}

impl Rule {
    /// The line that adds it to the table. Nothing in it comes from outside as text.
    pub(crate) fn line(&self) -> String {
        let mut words = format!("add rule inet agentos {}", self.verdict.chain());
        match (&self.source, self.family) {
            (Some(source), _) => {
                let family = if source.address.is_ipv4() { "ip" } else { "ip6" };
                words = format!("{words} {family} saddr {source}");
            }
            (None, Family::Ip) => words.push_str(" meta nfproto ipv4"),
            (None, Family::Ip6) => words.push_str(" meta nfproto ipv6"),
            (None, Family::Inet) => {}
        }
        if let Some(ports) = &self.ports {
            words = format!("{words} {} dport {}", protocol(ports.protocol), range(*ports));
        }
        words.push_str(if self.verdict == Verdict::Open { " accept" } else { " drop" });
        format!("{words} comment \"{self}\"")
    }
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn range(ports: Ports) -> String {
    if ports.first == ports.last {
        ports.first.to_string()
    } else {
        format!("{}-{}", ports.first, ports.last)
    }
}

/// A port or a range of ports.
pub(crate) fn parse_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
    match text.split_once('-') {
        Some((first, last)) => port(first).zip(port(last)).filter(|(first, last)| first < last),
        None => port(text).map(|port| (port, port)),
    }
}

/// `close tcp 8000-8010 ip from 10.0.0.0/8`: what the rule is known by, as its comment.
impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.verdict.word())?;
        match &self.ports {
            Some(ports) => write!(formatter, " {} {}", protocol(ports.protocol), range(*ports))?,
            None => formatter.write_str(" all")?,
        }
        match self.family {
            Family::Inet => {}
            Family::Ip => formatter.write_str(" ip")?,
            Family::Ip6 => formatter.write_str(" ip6")?,
        }
        self.source.map_or(Ok(()), |source| write!(formatter, " from {source}"))
    }
}

impl FromStr for Rule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "no rule of AgentOS'";
        let mut words = text.split(' ').peekable();
        let verdict = words.next().and_then(|word| Verdict::ALL.into_iter().find(|one| one.word() == word));
        let verdict = verdict.ok_or(WRONG)?;
        let ports = match words.next() {
            Some("all") => None,
            Some(word) => {
                let protocol = match word {
                    "tcp" => Protocol::Tcp,
                    "udp" => Protocol::Udp,
                    _ => return Err(WRONG),
                };
                let (first, last) = words.next().and_then(parse_range).ok_or(WRONG)?;
                Some(Ports { protocol, first, last })
            }
            None => return Err(WRONG),
        };
        let family = match words.peek() {
            Some(&"ip") => Family::Ip,
            Some(&"ip6") => Family::Ip6,
            _ => Family::Inet,
        };
        if family != Family::Inet {
            words.next();
        }
        let source = match words.next() {
            Some("from") => Some(words.next().ok_or(WRONG)?.parse()?),
            Some(_) => return Err(WRONG),
            None => None,
        };
        if words.next().is_some() { Err(WRONG) } else { Ok(Self { verdict, ports, family, source }) }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The rule that a line of `/etc/agentos/firewall.rules` adds: its comment.
pub(crate) fn of_line(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let comment =
        line.strip_prefix("add rule inet agentos ")?.split_once(" comment \"")?.1.strip_suffix('"')?;
    comment.parse::<Rule>().ok().map(|rule| rule.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let net: Net = "10.1.2.3/8".parse().unwrap();
        assert_eq!(net.to_string(), "10.0.0.0/8");
        assert!(net.holds("10.255.0.1".parse().unwrap()) && net.holds("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!net.holds("11.0.0.1".parse().unwrap()) && !net.holds("::1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Net>().unwrap().holds("1.2.3.4".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "10.0.0", "::/129", "10.0.0.1; drop", "10.0.0.0/ 8"] {
            assert!(wrong.parse::<Net>().is_err(), "{wrong}");
        }
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let ports = proptest::option::of((any::<bool>(), 1u16.., 1u16..)).prop_map(|ports| {
            ports.map(|(tcp, one, other)| Ports {
                protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                first: one.min(other),
                last: one.max(other),
            })
        });
        let source = proptest::option::of((any::<IpAddr>(), 0u8..=128)).prop_map(|source| {
            source.map(|(address, length)| {
                let length = if address.is_ipv4() { length.min(32) } else { length };
                Net { address: masked(address, length), length }
            })
        });
        (0usize..3, ports, 0usize..3, source).prop_map(|(verdict, ports, family, source)| Rule {
            verdict: Verdict::ALL[verdict],
            ports,
            family: [Family::Inet, Family::Ip, Family::Ip6][family],
            source,
        })
    }

    proptest! {
        #[test]
        fn a_rule_is_read_back_from_its_words_and_its_line(rule in any_rule()) {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            prop_assert_eq!(of_line(rule.line().as_bytes()), Some(rule.to_string()));
            // The longest comment that nft takes (NFTNL_UDATA_COMMENT_MAXLEN).
            prop_assert!(rule.to_string().len() < 128);
        }

        #[test]
        fn any_text_is_a_rule_or_refused(text in "(open|close|block|all|tcp|udp|ip|ip6|from|[0-9./:-]{1,9}| |\\PC){0,12}") {
            let _ = (text.parse::<Rule>(), of_line(text.as_bytes()), text.parse::<Net>());
        }
    }
}
