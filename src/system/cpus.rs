//! The processors of this host.

/// How many processors are online; none if the kernel does not tell.
pub fn online() -> Option<u32> {
    count(&std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

/// Numbers in a list of ranges such as `0-3,5`.
fn count(list: &str) -> Option<u32> {
    list.trim().split(',').map(range).sum()
}

fn range(text: &str) -> Option<u32> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ranges_are_counted() {
        assert_eq!(count("0-3,5\n"), Some(5));
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("3-1"), None);
        assert_eq!(count(""), None);
        assert!(online().is_some_and(|cpus| cpus > 0));
    }
}
