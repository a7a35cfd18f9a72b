"""DiAMoNDBack with the interface of the protein model, for TorchScript."""

import torch
from torch import Tensor, nn

from backmap.inference.diamondback import Build, StructureBuilder
from backmap.models.chain import Chain
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.diamondback.representation import pass_kinds
from backmap.models.protein.given_atoms import Given


class DiamondbackDrawer(nn.Module):
    """Draws all heavy atoms of proteins residue by residue.

    Parameters
    ----------
    model : DiamondbackModel
        Trained model.
    ddim_steps : int
        Steps of the DDIM sampler; 0 for the published sampler.
    """

    def __init__(self, model: DiamondbackModel, ddim_steps: int) -> None:
        super().__init__()
        self.builder = StructureBuilder(model)
        self.ddim_steps, self.attempts = ddim_steps, 1 + model.config.redraws

    def draw(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        given: Given | None = None,
        box: Tensor | None = None,
    ) -> Tensor:
        """Draw structures; arguments and result are as for ``ProteinModel.draw``.

        Given atoms and the box are ignored.

        Raises
        ------
        ValueError
            If a residue is in a segment of fewer than three residues, where no local frame is defined.
        """
        lone = torch.nonzero(pass_kinds(chain) < 0).squeeze(-1)
        if len(lone) > 0:
            raise ValueError(
                f"residue {int(lone[0])}, counted from 0, is in a segment of fewer than three residues, "
                "which DiAMoNDBack cannot build"
            )
        build = Build(c_alpha, chain, keys)
        self.builder([build], self.ddim_steps, self.attempts)
        return build.result()
