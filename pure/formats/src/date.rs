//! Dates as playlists and manifests write them.

/// As RFC 3339 has it, in UTC with milliseconds: `2026-11-28T16:26:39.999Z`. Of milliseconds since 1970 (civil date by counting days in eras of 400 years).
pub fn date(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (secs, ms) = (rest / 1000, rest % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(date(1_795_883_199_999), "2026-11-28T16:26:39.999Z");
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_calendar(days in 0i64..30_000) {
            let text = date(days * 86_400_000 + 86_399_999);
            let (mut year, mut left) = (1970, days);
            let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
            while left >= 365 + leap(year) {
                left -= 365 + leap(year);
                year += 1;
            }
            let mut month = 1;
            for length in [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                if left < length {
                    break;
                }
                left -= length;
                month += 1;
            }
            let want = format!("{year:04}-{month:02}-{:02}T23:59:59.999Z", left + 1);
            prop_assert_eq!(text, want);
        }
    }
}
