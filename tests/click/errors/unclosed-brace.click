elementclass E { input -> output
