//! The two laws of ITU-T G.711, as tables: what each byte stands for, full scale at 1.

/// Samples per second.
pub(super) const RATE: u32 = 8_000;

/// A-law.
pub(super) static A_LAW: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_law(code as u8) as f32 / 32_768.0;
        code += 1;
    }
    table
};

/// µ-law.
pub(super) static MU_LAW: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_law(code as u8) as f32 / 32_768.0;
        code += 1;
    }
    table
};

/// Every second bit is inverted; the sign is positive when set. The first two segments are one straight line (G.711 §3.1).
const fn a_law(code: u8) -> i32 {
    let code = code ^ 0x55;
    let (segment, step) = ((code >> 4 & 7) as i32, (code & 15) as i32);
    let size = match segment {
        0 => (step << 4) + 8,
        segment => ((step << 4) + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { size } else { -size }
}

/// All bits are inverted; the sign is negative when set. Each segment is twice as steep as the one before, and the curve is shifted by 33 steps
/// (G.711 §3.2).
const fn mu_law(code: u8) -> i32 {
    const BIAS: i32 = 33 << 2;
    let code = !code;
    let (segment, step) = ((code >> 4 & 7) as i32, (code & 15) as i32);
    let size = (((step << 3) + BIAS) << segment) - BIAS;
    if code & 0x80 != 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_are_those_of_the_standard() {
        assert_eq!([0xff, 0x7f, 0x80, 0x00].map(mu_law), [0, 0, 32_124, -32_124]);
        assert_eq!([0xd5, 0x55, 0xaa, 0x2a].map(a_law), [8, -8, 32_256, -32_256]);
        assert_eq!([0xc5, 0x45].map(a_law), [264, -264]);
    }

    #[test]
    fn larger_codes_are_louder() {
        let rises = |table: &[i32]| table.windows(2).all(|pair| pair[0] < pair[1]);
        let mu: Vec<_> = (0x80..=0xff).rev().map(mu_law).collect();
        let a: Vec<_> = (0x80..=0xffu8).map(|code| a_law(code ^ 0x55)).collect();
        assert!(rises(&mu) && rises(&a));
    }
}
