addEventListener("click", (event) => {
  const link = event.target.closest("a[data-start]");
  const player = link && link.closest("section").querySelector("video");
  if (!player) return;
  event.preventDefault();
  player.currentTime = Number(link.dataset.start);
  player.play();
  player.scrollIntoView({block: "nearest"});
});
