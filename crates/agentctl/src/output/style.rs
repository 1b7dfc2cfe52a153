//! The few ways a text can look. Colour never carries meaning alone: the words beside it say the same.

use anstyle::{AnsiColor, Effects};

/// How a text is shown where colour is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    /// Heads of columns and sections.
    Heading,
    /// Names beside values, and what matters less.
    Dim,
    Good,
    Warning,
    Bad,
}

impl Style {
    /// Its escape sequences.
    pub(crate) fn ansi(self) -> anstyle::Style {
        let plain = anstyle::Style::new();
        match self {
            Self::Plain => plain,
            Self::Heading => plain.effects(Effects::BOLD),
            Self::Dim => plain.effects(Effects::DIMMED),
            Self::Good => plain.fg_color(Some(AnsiColor::Green.into())),
            Self::Warning => plain.fg_color(Some(AnsiColor::Yellow.into())),
            Self::Bad => plain.fg_color(Some(AnsiColor::Red.into())).effects(Effects::BOLD),
        }
    }
}
