"""Long runs that try to break digitscan: `torture` whole scans, `fuzz` what reads untrusted bytes."""
