define($n 5)
elementclass E { define($m 6) elementclass F { Idle($n, $m) } f :: F }
e :: E
