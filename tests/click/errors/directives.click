#pragma once
#line 3 "x.click"
Idle(;
