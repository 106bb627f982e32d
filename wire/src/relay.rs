//! Windows of a relay's streams: how many bytes may be on their way. Pure.

use crate::{STREAM_WINDOW, WIDE_WINDOW, WireError};

/// What the sender of a stream may still send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendWindow {
    left: u32,
    most: u32,
}

impl Default for SendWindow {
    fn default() -> Self {
        Self { left: STREAM_WINDOW, most: STREAM_WINDOW }
    }
}

impl SendWindow {
    /// One that may be widened to [`WIDE_WINDOW`] by a grant: the receiver is asked for it.
    pub fn to_be_widened() -> Self {
        Self { left: STREAM_WINDOW, most: WIDE_WINDOW }
    }

    /// Bytes that may be sent now.
    pub fn left(&self) -> usize {
        self.left as usize
    }

    /// Notes that `bytes` were sent; the caller has looked at [`SendWindow::left`].
    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The receiver has room for further bytes.
    pub fn grant(&mut self, bytes: u32) -> Result<(), WireError> {
        self.left = self.left.checked_add(bytes).filter(|sum| *sum <= self.most).ok_or(WireError::Window)?;
        Ok(())
    }
}

/// What the receiver of a stream has promised to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveWindow {
    left: u32,
    owed: u32,
    size: u32,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self { left: STREAM_WINDOW, owed: 0, size: STREAM_WINDOW }
    }
}

impl ReceiveWindow {
    /// Notes that `bytes` came in; an error if they are more than was promised.
    pub fn accept(&mut self, bytes: usize) -> Result<(), WireError> {
        let bytes = u32::try_from(bytes).map_err(|_| WireError::Window)?;
        self.left = self.left.checked_sub(bytes).ok_or(WireError::Window)?;
        Ok(())
    }

    /// The sender asks for a window of [`WIDE_WINDOW`]; says what to grant it for that. None if it has it already.
    pub fn widen(&mut self) -> Option<u32> {
        let further = WIDE_WINDOW - self.size;
        self.size = WIDE_WINDOW;
        self.left += further;
        (further > 0).then_some(further)
    }

    /// Notes that `bytes` of what came in were passed on; says what to grant the sender now, if it is worth a frame.
    pub fn passed_on(&mut self, bytes: usize) -> Option<u32> {
        self.owed = self.owed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.owed < self.size / 4 {
            return None;
        }
        let granted = std::mem::take(&mut self.owed);
        self.left += granted;
        Some(granted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn more_than_the_window_is_refused() {
        let mut window = ReceiveWindow::default();
        window.accept(STREAM_WINDOW as usize).unwrap();
        assert!(matches!(window.accept(1), Err(WireError::Window)));
    }

    #[test]
    fn a_grant_beyond_the_first_window_is_refused() {
        let mut window = SendWindow::default();
        assert!(window.grant(1).is_err());
        window.spend(10);
        window.grant(10).unwrap();
        assert_eq!(window.left(), STREAM_WINDOW as usize);
    }

    #[test]
    fn a_window_is_widened_once_and_only_for_who_asks() {
        let (mut asks, mut does_not) = (SendWindow::to_be_widened(), SendWindow::default());
        let mut receiver = ReceiveWindow::default();
        receiver.accept(10).unwrap();
        let further = receiver.widen().unwrap();
        assert_eq!(receiver.widen(), None);
        asks.spend(10);
        asks.grant(further).unwrap();
        assert_eq!(asks.left(), WIDE_WINDOW as usize - 10);
        receiver.accept(asks.left()).unwrap();
        assert!(receiver.accept(1).is_err());
        assert!(does_not.grant(further).is_err());
    }

    proptest! {
        #[test]
        fn sender_and_receiver_agree(
            steps in proptest::collection::vec((1usize..40_000, any::<bool>()), 1..400),
            widened_after in 0usize..400,
        ) {
            let (mut sender, mut receiver) = (SendWindow::to_be_widened(), ReceiveWindow::default());
            let mut held = 0;
            for (step, (size, pass_on)) in steps.into_iter().enumerate() {
                if step == widened_after && let Some(granted) = receiver.widen() {
                    sender.grant(granted).unwrap();
                }
                let size = size.min(sender.left());
                sender.spend(size);
                receiver.accept(size).unwrap();
                held += size;
                if pass_on && let Some(granted) = receiver.passed_on(std::mem::take(&mut held)) {
                    sender.grant(granted).unwrap();
                }
                prop_assert!(held <= WIDE_WINDOW as usize);
            }
            if let Some(granted) = receiver.passed_on(held) {
                sender.grant(granted).unwrap();
            }
            prop_assert!(sender.left() > (receiver.size / 2) as usize);
        }
    }
}
