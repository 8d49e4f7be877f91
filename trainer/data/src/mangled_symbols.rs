//! Gene symbols that a spreadsheet turned into dates or numbers.
//!
//! They are recognised and never guessed back: `1-Mar` was MARCHF1 (MARCH1) or MTARC1 (MARC1), and
//! nothing in the file tells which.

/// What a spreadsheet made of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MangledSymbol {
    /// A date: `1-Mar`, `Mar-01`, `2023-03-01`, or its number of days, `43891`.
    Date {
        /// 1 to 12.
        month: u32,
        /// 1 to 31.
        day: u32,
    },
    /// A RIKEN id read as a number: `2310009E13` became `2.31E+13`.
    Scientific,
}

impl MangledSymbol {
    /// What a name that is no symbol shows; `None` for all that may be one. Numbers of days look like
    /// any other number: see [`Self::of_day_number`].
    pub fn of(name: &str) -> Option<Self> {
        if is_scientific(name) {
            return Some(Self::Scientific);
        }
        let name = name.split_once(' ').map_or(name, |(date, _time)| date);
        let parts: Vec<&str> = name.split(['-', '/', '.']).collect();
        let (month, day) = match parts[..] {
            [a, b] => month(a).zip(number(unmarked(b))).or(month(b).zip(number(unmarked(a))))?,
            [a, b, c] => match (month(a), month(b)) {
                (Some(month), _) => (month, number(b)?),
                (_, Some(month)) if a.len() == 4 => (month, number(c)?),
                (_, Some(month)) => (month, number(unmarked(a))?),
                // 2023-03-01, or 3/1/2023 as spreadsheets of the United States write it.
                _ if a.len() == 4 => (number(b)?, number(c)?),
                _ if c.len() == 4 => (number(a)?, number(b)?),
                _ => return None,
            },
            _ => return None,
        };
        let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
        is_date.then_some(Self::Date { month, day })
    }

    /// A number of days since the end of 1899, as spreadsheets keep dates, from 2000 to 2049: where
    /// other names are symbols such a number was one too.
    pub fn of_day_number(name: &str) -> Option<Self> {
        let days = name.parse().ok().filter(|days| (36_526..=54_788).contains(days))?;
        let (month, day) = month_and_day(days);
        Some(Self::Date { month, day })
    }

    /// The symbols of human genes that it may have been, empty where none is known.
    pub fn may_have_been(&self) -> String {
        let Self::Date { month, day } = *self else { return "a RIKEN id".into() };
        match month {
            3 if day <= 2 => format!("MARCHF{day} or MTARC{day}"),
            3 => format!("MARCHF{day}"),
            9 if day == 15 => "SELENOF".into(),
            9 => format!("SEPTIN{day}"),
            10 if day == 4 => "POU5F1".into(),
            12 => format!("DELEC{day}"),
            _ => String::new(),
        }
    }
}

/// `2.31E+13`, `9E+09`.
fn is_scientific(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((mantissa, exponent)) = name.split_once("E+").or_else(|| name.split_once("e+")) else {
        return false;
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    whole.len() == 1 && digits(whole) && digits(fraction) && digits(exponent)
}

/// The number of a month by its English name, short or whole, with a capital: `sep-1` and `jun-1` are
/// genes of worms.
fn month(name: &str) -> Option<u32> {
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let is_name = |(_, month): &(u32, &str)| {
        let short = month.get(..3).unwrap_or(month);
        name.eq_ignore_ascii_case(month)
            || name.eq_ignore_ascii_case(short)
            || (*month == "september" && name.eq_ignore_ascii_case("sept"))
    };
    (1..).zip(MONTHS).find(is_name).map(|(number, _)| number)
}

/// A number of one or two digits.
fn number(text: &str) -> Option<u32> {
    let is_short = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_short)
}

/// Without the X that R puts before a name that begins with a digit.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('X').unwrap_or(text)
}

/// Month and day of a number of days since 30 December 1899, from 1 March 1900 to the end of 2099.
fn month_and_day(days: u32) -> (u32, u32) {
    // Since 1 March 1900: years that begin with March have their leap day at the end.
    let days = days.saturating_sub(61);
    let four_years = days % 1_461;
    let year_day = four_years - 365 * (four_years / 365).min(3);
    // Months from March on: lengths of 153 days in five.
    let from_march = (5 * year_day + 2) / 153;
    let day = year_day - (153 * from_march + 2) / 5 + 1;
    ((from_march + 2) % 12 + 1, day)
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_form_are_recognised() {
        for name in [
            "1-Mar",
            "Mar-1",
            "01-Mar",
            "MAR-01",
            "1/Mar",
            "X1.Mar",
            "1-Mar-23",
            "2023-03-01",
            "2023-03-01 00:00:00",
            "3/1/2023",
            "March-1",
        ] {
            let date = Some(MangledSymbol::Date { month: 3, day: 1 });
            assert_eq!(MangledSymbol::of(name), date, "{name}");
        }
        let date = |name: &str| MangledSymbol::of(name).unwrap().may_have_been();
        assert_eq!(date("1-Mar"), "MARCHF1 or MTARC1");
        assert_eq!(date("11-Mar"), "MARCHF11");
        assert_eq!(date("Sep-07"), "SEPTIN7");
        assert_eq!(date("15-Sep"), "SELENOF");
        assert_eq!(date("1-Dec"), "DELEC1");
        assert_eq!(date("2.31E+13"), "a RIKEN id");
    }

    #[test]
    fn numbers_of_days_are_dates() {
        // As spreadsheets show them: 1 March of 2020, 2021 and 2024, 2 September and 1 December 2020,
        // 29 February 2024, 1 January 2000.
        for (days, month, day) in [
            ("43891", 3, 1),
            ("44256", 3, 1),
            ("45352", 3, 1),
            ("44076", 9, 2),
            ("44166", 12, 1),
            ("45351", 2, 29),
            ("36526", 1, 1),
        ] {
            let expected = Some(MangledSymbol::Date { month, day });
            assert_eq!(MangledSymbol::of_day_number(days), expected, "{days}");
        }
        for number in ["7157", "672", "100130426", "1-Mar"] {
            assert_eq!(MangledSymbol::of_day_number(number), None, "{number}");
        }
    }

    #[test]
    fn symbols_are_no_dates() {
        for name in [
            "MARCH1",
            "MARCHF1",
            "SEPT2",
            "DEC1",
            "HLA-A",
            "H2-Ab1",
            "NKX2-1",
            "RP11-34P13.7",
            "AL627309.1",
            "2310009E13Rik",
            "KRTAP5-11",
            "MT-ND1",
            "Y-12",
            "1-2",
            "MIR-10",
            "may-99",
            "sep-1",
            "Mar-",
            "-",
            "",
            "E+",
            "2.31",
            "jan",
            "Gm10.5",
        ] {
            assert_eq!(MangledSymbol::of(name), None, "{name}");
        }
    }
}
