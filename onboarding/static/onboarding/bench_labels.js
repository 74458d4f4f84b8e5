"use strict";
const button = document.getElementById("print");
button.addEventListener("click", () => window.print());
// Once printed, the window goes and the scanner's window is in front again.
window.addEventListener("afterprint", () => window.opener && window.close());
