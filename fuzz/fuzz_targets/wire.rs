//! Messages of clients to the broker, and of guests to whoever attaches.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podspawn_wire::broker::ToBroker;
use podspawn_wire::{Decoder, FromGuest, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads all that there is, in two pieces, and writes again what was understood.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8], cut: usize) {
    let mut decoder = Decoder::new();
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    for piece in [first, second] {
        decoder.push(piece);
        while let Ok(Some((message, descriptors))) = decoder.next::<T>() {
            let Ok(written) = encode(&message, descriptors) else { continue };
            let mut again = Decoder::new();
            again.push(&written);
            assert_eq!(again.next::<T>().ok().flatten(), Some((message, descriptors)));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    read::<ToBroker>(bytes, usize::from(*cut));
    read::<FromGuest>(bytes, usize::from(*cut));
});
