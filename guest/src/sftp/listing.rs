//! The line that a client shows for a directory entry, as `ls -l` would write it. Pure.

use rustix::fs::{FileType, Stat};

/// Half a year, in seconds: what is older is dated by its year.
const HALF_A_YEAR: i64 = 182 * 24 * 3600;

/// One line: type and permissions, links, owner, group, size, date, name.
pub(super) fn long_name(name: &[u8], stat: &Stat, owner: &str, group: &str, now: i64) -> Vec<u8> {
    let mut line = format!(
        "{} {:3} {owner:8} {group:8} {:8} {} ",
        mode_text(stat.st_mode),
        stat.st_nlink,
        stat.st_size,
        date_text(stat.st_mtime, now),
    )
    .into_bytes();
    line.extend_from_slice(name);
    line
}

fn mode_text(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::RegularFile | FileType::Unknown => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// `Nov 23 03:00` for the last half year, `Nov 23  2019` otherwise; in UTC, as the guest reads no time zones.
fn date_text(seconds: i64, now: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil(seconds.div_euclid(86400));
    let name = MONTHS[month - 1];
    if seconds > now || now - seconds > HALF_A_YEAR {
        format!("{name} {day:2} {year:5}")
    } else {
        let minutes = seconds.rem_euclid(86400) / 60;
        format!("{name} {day:2} {:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Year, month (1 to 12) and day of a number of days since 1970, in the Gregorian calendar.
fn civil(days: i64) -> (i64, usize, i64) {
    // Years are counted from March here, so that the leap day is the last one of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_782, (2024, 2, 29)),
            (20_088, (2024, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "day {days}");
        }
    }

    #[test]
    fn recent_files_show_the_time_and_others_the_year() {
        let now = 1_700_000_000;
        assert_eq!(date_text(now - 60, now), "Nov 14 22:12");
        assert_eq!(date_text(now + 60, now), "Nov 14  2023");
        assert_eq!(date_text(0, now), "Jan  1  1970");
    }

    #[test]
    fn permissions_read_as_ls_writes_them() {
        assert_eq!(mode_text(0o100644), "-rw-r--r--");
        assert_eq!(mode_text(0o104755), "-rwsr-xr-x");
        assert_eq!(mode_text(0o102644), "-rw-r-Sr--");
        assert_eq!(mode_text(0o041777), "drwxrwxrwt");
        assert_eq!(mode_text(0o120777), "lrwxrwxrwx");
    }
}
